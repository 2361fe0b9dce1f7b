"""Every setting, typed, with its default. `config_loading` makes one configuration of files, recipes and overrides."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, cast

from omegaconf import OmegaConf

from prag_core.config.choices import Dtype, Tier

CorpusFormat = Enum(
    "CorpusFormat",
    {
        "auto": "auto",
        "jsonl": "jsonl",
        "parquet": "parquet",
        "tsv": "tsv",
        "2wiki": "2wiki",
        "hotpotqa": "hotpotqa",
    },
)
QuestionFormat = Enum(
    "QuestionFormat",
    {
        "auto": "auto",
        "jsonl": "jsonl",
        "2wiki": "2wiki",
        "hotpotqa": "hotpotqa",
        "popqa": "popqa",
        "cwq": "cwq",
    },
)


class LongDocuments(Enum):
    quarantine = "quarantine"
    chunk = "chunk"


class WarmCount(Enum):
    once = "once"
    every = "every"


class EngineKind(Enum):
    vllm = "vllm"
    transformers = "transformers"


@dataclass
class CorpusConfig:
    uri: str = "${root:examples/mini/corpus.jsonl}"  # file, folder or glob; any fsspec URI
    format: CorpusFormat = CorpusFormat.auto
    limit: int | None = None  # read only the first so many documents
    max_rejected: float = (
        0.01  # share of rows that may be unusable, rounded up to whole rows; more stop the run
    )
    long_documents: LongDocuments = (
        LongDocuments.quarantine
    )  # what to do with text longer than the model's context
    chunk_overlap: int = 32  # tokens shared by neighbouring chunks


@dataclass
class BankConfig:
    uri: str = "out/bank"
    tier: Tier = Tier.fp32
    shard_documents: int = 512
    shard_megabytes: int = 512


@dataclass
class ModelConfig:
    path: str = "${root:examples/mini/model}"
    revision: str | None = None
    max_length: int | None = None  # context in tokens; null: the model's own


@dataclass
class PromptConfig:
    with_title: bool = False  # put a document's title before its text
    cot: bool = False  # worked reasoning instead of direct answers
    fewshot: str | None = None  # JSONL of {question, answer}, for cot


@dataclass
class AugmentationConfig:
    engine: EngineKind = EngineKind.vllm
    model: str | None = None  # another model that writes; null: model.path
    num_rewrites: int = 1
    num_qa_pairs: int = 3  # 0: adapters learn the passage and its rewrites as plain text
    max_new_tokens: int = 512
    temperature: float = 0.7
    top_k: int = 50
    max_attempts: int = 4  # a document that still fails is quarantined
    seed: int = 0
    uri: str | None = (
        None  # take augmentations from another bank where it has them; of the same augmentation settings
    )


@dataclass
class TrainingConfig:
    objective: str = "next_token"  # or distill: do as the frozen model does with the passage before it (docs/objectives.md)
    distill_hidden: float = 0.0  # distill: weight of the hidden states beside the predictions
    rank: int = 2
    alpha: float = 32.0
    targets: list[str] = field(default_factory=lambda: ["gate_proj", "up_proj", "down_proj"])
    epochs: int = 1
    learning_rate: float = 3e-4
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.01
    dtype: Dtype = Dtype.float32
    seed: int = 0
    initial: str | None = (
        None  # the adapter that all documents start from: what prag warmup wrote; null: drawn at random
    )
    repeat_without_passage: bool = False  # ask the pairs that are asked over a passage once more without it
    replay_uri: str | None = None  # JSONL of {question, answer, passages}: samples about other subjects
    replay_samples: int = 0  # how many of them each document trains on beside its own
    cohort_documents: int | None = None  # documents trained at once; null: from free memory
    threads: int | None = None  # of one training process on CPU; null: torch's choice
    compile: bool = (
        False  # torch.compile, meant for GPUs: on a processor it does not pay (benchmarks/README.md)
    )


@dataclass
class AcceptanceConfig:
    """The exam after training: each adapter is asked its document's own questions, closed book."""

    threshold: float | None = (
        None  # the share that has to be answered right; null: no exam; 0: scores, and no verdicts
    )
    max_retries: int = (
        1  # trainings anew, each with twice the epochs of the one before; who fails the last is text_only
    )


@dataclass
class WarmupConfig:
    """Of `prag warmup`. Model, prompt, shape, seed and precision of the adapter are those of `model`, `prompt` and `training`."""

    questions: str | None = (
        None  # JSONL of {question_id, question, answers}, about subjects that are not the corpus's
    )
    num_questions: int | None = (
        None  # the first so many; null: 2000, or with prompt.cot the first 600 that are worked out right
    )
    epochs: int = 1
    learning_rate: float = 3e-4
    weight_decay: float = 0.01
    out: str = "out/warm.safetensors"  # a file, or any fsspec URI


@dataclass
class RetrievalConfig:
    top_k: int = 3
    k1: float = 1.2  # BM25: how soon a repeated word stops counting
    b: float = 0.75  # BM25: how much long documents are discounted, 0 to 1
    stemmer: str | None = "english"  # a Snowball language
    stopwords: str | None = "english_plus"  # a list of bm25s; english is a short one
    as_narrowed: bool = (
        False  # over what prag narrow kept: its questions find what they found in the whole corpus
    )


@dataclass
class MergeConfig:
    rule: str = "sum"  # how the documents' adapters become one: a name in prag_core/merge
    density: float = 0.9  # ties, dare: share of a factor's entries that is kept; low ranks have few to spare
    sharpness: float = 1.0  # score_weighted: a document weighs (its score / the best) to this power
    rank: int | None = None  # svd: of what is left; null: one document's
    seed: int = 0  # dare: which entries are dropped
    warm: WarmCount = (
        WarmCount.once
    )  # what documents' adapters started from counts once, or with every document, as published


@dataclass
class MethodsConfig:
    """Of the methods that retrieve while they generate. A null threshold is the one published for `dataset`."""

    dataset: str = "2wiki"  # whose published thresholds count: 2wiki or hotpotqa
    max_rounds: int = 5  # retrievals for one question: flare, flare_lookahead, dragin
    max_documents: int = (
        15  # for one question: passages that ircot collects; adapters that any of them merges
    )
    sentence_tokens: int = 64  # the longest sentence that ircot reads
    ircot_sentences: int = 10  # of reasoning at most
    flare_threshold: float | None = (
        None  # retrieve for a sentence whose mean (1 - p) is above; drop its tokens above
    )
    lookahead_tokens: int = 64  # flare_lookahead: how far a draft goes
    lookahead_act_below: float = (
        0.8  # flare_lookahead: retrieve if a token of the next sentence is no likelier
    )
    lookahead_blank_below: float = (
        0.4  # flare_lookahead: and leave tokens no likelier than this out of the query
    )
    dragin_threshold: float | None = None  # retrieve for a word whose score is above
    dragin_tokens: int = 64  # how far a draft goes
    dragin_query_words: int | None = None  # words of a query at most; null: as published for `dataset`
    dragin_scale: bool = (
        True  # attention in shares of its sentence's, times the sentence's words, as published
    )
    router: str | None = None  # adaptive_…: the folder of what prag train-router made
    router_confidence: float | None = (
        None  # adaptive_…: null: the likeliest strategy, as published; else the cheapest that,
    )
    # with those cheaper, is this likely


@dataclass
class RouterConfig:
    """Of prag train-router. The router itself lies in `methods.router`."""

    questions: str = (
        "${root:examples/mini/questions.train.jsonl}"  # none of which may be among evaluate.questions
    )
    limit: int | None = None
    strategies: list[str] | None = None  # cheapest first; null: the method's own
    single_hop_types: list[str] = field(
        default_factory=lambda: ["single", "single-hop", "simple"]
    )  # other types: several hops
    retrieval_features: bool | None = (
        None  # look at what a question retrieves; null: if it cross-validates better
    )
    folds: int = 5  # of the cross-validation
    held_out: float = 0.25  # share of the questions that only the final figures are of
    seed: int = 0


@dataclass
class CalibrateConfig:
    """Of prag calibrate."""

    questions: str = (
        "${root:examples/mini/questions.dev.jsonl}"  # none of which may be among evaluate.questions
    )
    limit: int | None = None
    methods: list[str] = field(default_factory=lambda: ["flare", "flare_lookahead"])
    values: int = (
        5  # tried of each threshold: quantiles of what it is compared with, beside the value that is set
    )
    tolerance: float = 0.01  # of F1 that fewer retrievals are worth
    out: str = "out/thresholds.yaml"  # settings, for a further --config


@dataclass
class EngineConfig:
    kind: EngineKind = EngineKind.vllm
    dtype: Dtype = Dtype.bfloat16
    max_sequences: int = 32  # requests in one batch; each may carry its own adapter
    gpu_memory_utilization: float = 0.9
    kv_cache_gigabytes: int = 1  # of the CPU backend
    max_new_tokens: int | None = None  # null: 20, or 128 with prompt.cot


@dataclass
class EvaluateConfig:
    questions: str = "${root:examples/mini/questions.test.jsonl}"
    format: QuestionFormat = (
        QuestionFormat.auto
    )  # a published question set's own file format, or jsonl; auto: as it begins
    type: str | None = None  # only questions of this type
    methods: list[str] = field(
        default_factory=lambda: ["closed_book", "rag", "prag", "combine", "prag_irrelevant"]
    )
    banks: dict[str, str] = field(
        default_factory=dict
    )  # further banks by name; prag@name runs prag on that bank
    baselines: list[str] = field(
        default_factory=lambda: ["rag", "prag"]
    )  # methods that paired tests compare against
    out: str = "out/evaluate"
    limit: int | None = None  # only the first so many (of `type`)
    num_resamples: int = 2000
    seed: int = 0


@dataclass
class AblateConfig:
    out: str = "out/ablations"  # banks, answers and tables of prag ablate


@dataclass
class PaperConfig:
    data: str = "data"  # question sets and corpus that prag paper reads; conf/paper/setup.yaml says how they lie there
    out: str = "out/paper"  # narrowed corpora, banks, answers and tables


@dataclass
class ServeConfig:
    host: str = "127.0.0.1"  # the one port that listens beyond loopback, if this says so
    port: int = 8000
    keys: str | None = None  # a file of API keys (prag keys); null: everybody may ask everything
    cors_origins: list[str] = field(
        default_factory=list
    )  # of web pages whose scripts may ask, e.g. https://app.example; "*": of every page
    methods: list[str] = field(
        default_factory=lambda: ["closed_book", "rag", "prag", "combine"]
    )  # offered; if none of them
    # uses adapters, the engine starts without room for any and is faster; flare+prag and its like need larger slots
    generators: int = 1  # engines at least
    max_generators: int = 1  # engines at most; more than `generators`: as many as the load asks for
    generator_cpus: float = 1
    generator_gpus: float = 0
    retrievers: int = 1
    ingresses: int = 1
    max_top_k: int | None = (
        None  # documents a request may ask for; null: as many as adapters of retrieval.top_k leave room for
    )
    max_new_tokens: int = 512  # a request may ask for
    max_body_kilobytes: int = 512
    max_characters: int = 100_000  # of a request's messages, or its prompt, together
    max_ongoing: int = 64  # requests that one engine works on
    max_queued: int = 128  # requests that wait at one ingress for an engine; beyond, 503
    timeout_seconds: float = 120  # a request that takes longer ends with 503
    drain_seconds: float = 60  # a replica that is to stop may take this long over the requests it has
    health_seconds: float = 2  # between two looks at whether an engine lives
    poll_seconds: float = 5  # between two looks for a new snapshot
    adapter_cache_megabytes: int = 1024  # adapters that one engine keeps in memory
    damaged_seconds: float = 60  # how long an adapter that could not be read is not tried again
    grace_seconds: float = 10  # how long a merged adapter stays installed after its last request


@dataclass
class RayConfig:
    address: str | None = None  # null: a Ray of this process; "auto" or ray://… : a running cluster
    augment_actors: int = 1
    augment_cpus: float = 1
    augment_gpus: float = 0
    train_actors: int = 1
    train_cpus: float = 1
    train_gpus: float = 0
    max_attempts: int = 3  # of a shard whose actor died


@dataclass
class Config:
    recipe: str = "reference"  # a name in conf/recipe, or a YAML file
    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    bank: BankConfig = field(default_factory=BankConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    prompt: PromptConfig = field(default_factory=PromptConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    acceptance: AcceptanceConfig = field(default_factory=AcceptanceConfig)
    warmup: WarmupConfig = field(default_factory=WarmupConfig)
    retrieval: RetrievalConfig = field(default_factory=RetrievalConfig)
    merge: MergeConfig = field(default_factory=MergeConfig)
    methods: MethodsConfig = field(default_factory=MethodsConfig)
    router: RouterConfig = field(default_factory=RouterConfig)
    calibrate: CalibrateConfig = field(default_factory=CalibrateConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    ablate: AblateConfig = field(default_factory=AblateConfig)
    paper: PaperConfig = field(default_factory=PaperConfig)
    serve: ServeConfig = field(default_factory=ServeConfig)
    ray: RayConfig = field(default_factory=RayConfig)


def as_yaml(config: Config) -> str:
    """The resolved configuration as YAML, for --print-config and for the record of a run."""
    return OmegaConf.to_yaml(OmegaConf.structured(config), resolve=True)


def as_dict(config: Any) -> dict[str, Any]:
    """A configuration (or one section) as plain JSON values; enums by name."""
    container = OmegaConf.to_container(OmegaConf.structured(config), enum_to_str=True)
    return cast(dict[str, Any], container)
