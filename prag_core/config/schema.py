"""Every setting: its type, default, range, choices and one line of help. `load` makes one configuration of them.

This is the only description of settings: the check at load, the resolving of paths and `prag VERB --help-settings` read it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, cast

from omegaconf import OmegaConf

from prag_core.config.choices import Dtype, Tier
from prag_core.config.setting import PathKind, setting, setting_of

OBJECTIVES = ("next_token", "distill")
MERGE_RULES = ("sum", "mean", "score_weighted", "ties", "dare", "svd")
DATASETS = ("2wiki", "hotpotqa")  # with published thresholds

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
    uri: str = setting(
        "${root:examples/mini/corpus.jsonl}", "file, folder or glob; any fsspec URI", path=PathKind.local
    )
    format: CorpusFormat = setting(CorpusFormat.auto, "form of the corpus files; auto: by their names")
    limit: int | None = setting(None, "read only the first so many documents", ge=1)
    max_rejected: float = setting(
        0.01, "share of rows that may be unusable, rounded up to whole rows; more stop the run", ge=0, le=1
    )
    long_documents: LongDocuments = setting(
        LongDocuments.quarantine, "what to do with text longer than the model's context"
    )
    chunk_overlap: int = setting(32, "tokens shared by neighbouring chunks", ge=0)


@dataclass
class BankConfig:
    uri: str = setting("out/bank", "the bank: a folder or any fsspec URI", path=PathKind.local)
    tier: Tier = setting(Tier.fp32, "number format that adapters are stored in")
    shard_documents: int = setting(512, "documents of a shard at most", ge=1)
    shard_megabytes: int = setting(512, "megabytes of adapters of a shard at most", ge=1)


@dataclass
class ModelConfig:
    path: str = setting(
        "${root:examples/mini/model}", "the base model: a folder or a hub name", path=PathKind.model
    )
    revision: str | None = setting(None, "revision of a hub model")
    max_length: int | None = setting(None, "context in tokens; null: the model's own", ge=1)


@dataclass
class PromptConfig:
    with_title: bool = setting(False, "put a document's title before its text")
    cot: bool = setting(False, "worked reasoning instead of direct answers")
    fewshot: str | None = setting(None, "JSONL of {question, answer}, for cot", path=PathKind.local)


@dataclass
class AugmentationConfig:
    engine: EngineKind = setting(EngineKind.vllm, "engine that writes augmentations")
    model: str | None = setting(None, "another model that writes; null: model.path", path=PathKind.model)
    num_rewrites: int = setting(1, "rewrites of each document", ge=0)
    num_qa_pairs: int = setting(
        3,
        "question-answer pairs of each document; 0: passage and rewrites are learned as plain text",
        ge=0,
    )
    max_new_tokens: int = setting(512, "tokens of one generation at most", ge=1)
    temperature: float = setting(0.7, "sampling temperature; 0: greedy", ge=0)
    top_k: int = setting(50, "likeliest tokens that are sampled from; 0: all", ge=0)
    max_attempts: int = setting(
        4, "tries at a document's augmentation; a document that still fails is quarantined", ge=1
    )
    seed: int = setting(0, "seed of the sampling")
    uri: str | None = setting(
        None,
        "take augmentations from another bank where it has them; of the same augmentation settings",
        path=PathKind.local,
    )


@dataclass
class TrainingConfig:
    objective: str = setting(
        "next_token",
        "next_token as published; distill: do as the frozen model does with the passage before it (docs/objectives.md)",
        choices=OBJECTIVES,
    )
    distill_hidden: float = setting(0.0, "distill: weight of the hidden states beside the predictions", ge=0)
    rank: int = setting(2, "rank of the adapters", ge=1)
    alpha: float = setting(32.0, "LoRA alpha; the scaling is alpha / rank", gt=0)
    targets: list[str] = setting_of(
        lambda: ["gate_proj", "up_proj", "down_proj"], "names of the linear modules that are adapted"
    )
    epochs: int = setting(1, "passes over a document's samples", ge=1)
    learning_rate: float = setting(0.0003, "of AdamW, constant", gt=0)
    beta1: float = setting(0.9, "of AdamW", ge=0, lt=1)
    beta2: float = setting(0.999, "of AdamW", ge=0, lt=1)
    eps: float = setting(1e-08, "of AdamW", gt=0)
    weight_decay: float = setting(0.01, "of AdamW", ge=0)
    dtype: Dtype = setting(Dtype.float32, "precision of the base model in training")
    seed: int = setting(0, "seed of the initial adapter and of drawn samples")
    initial: str | None = setting(
        None,
        "the adapter that all documents start from: what prag warmup wrote; null: drawn at random",
        path=PathKind.local,
    )
    repeat_without_passage: bool = setting(
        False, "ask the pairs that are asked over a passage once more without it"
    )
    replay_uri: str | None = setting(
        None, "JSONL of {question, answer, passages}: samples about other subjects", path=PathKind.local
    )
    replay_samples: int = setting(0, "how many of them each document trains on beside its own", ge=0)
    cohort_documents: int | None = setting(None, "documents trained at once; null: from free memory", ge=1)
    threads: int | None = setting(None, "of one training process on CPU; null: torch's choice", ge=1)
    compile: bool = setting(
        False, "torch.compile, meant for GPUs: on a processor it does not pay (benchmarks/README.md)"
    )


@dataclass
class AcceptanceConfig:
    """The exam after training: each adapter is asked its document's own questions, closed book."""

    threshold: float | None = setting(
        None, "the share that has to be answered right; null: no exam; 0: scores, and no verdicts", ge=0, le=1
    )
    max_retries: int = setting(
        1,
        "trainings anew, each with twice the epochs of the one before; who fails the last is text_only",
        ge=0,
    )


@dataclass
class WarmupConfig:
    """Of `prag warmup`. Model, prompt, shape, seed and precision of the adapter are those of `model`, `prompt` and `training`."""

    questions: str | None = setting(
        None,
        "JSONL of {question_id, question, answers}, about subjects that are not the corpus's",
        path=PathKind.local,
    )
    num_questions: int | None = setting(
        None,
        "the first so many; null: 2000, or with prompt.cot the first 600 that are worked out right",
        ge=1,
    )
    epochs: int = setting(1, "passes over the questions", ge=1)
    learning_rate: float = setting(0.0003, "of AdamW, constant", gt=0)
    weight_decay: float = setting(0.01, "of AdamW", ge=0)
    out: str = setting("out/warm.safetensors", "a file, or any fsspec URI", path=PathKind.local)


@dataclass
class RetrievalConfig:
    top_k: int = setting(3, "passages of one retrieval", ge=1)
    k1: float = setting(1.2, "BM25: how soon a repeated word stops counting", ge=0)
    b: float = setting(0.75, "BM25: how much long documents are discounted, 0 to 1", ge=0, le=1)
    stemmer: str | None = setting("english", "a Snowball language")
    stopwords: str | None = setting("english_plus", "a list of bm25s; english is a short one")
    as_narrowed: bool = setting(
        False, "over what prag narrow kept: its questions find what they found in the whole corpus"
    )


@dataclass
class MergeConfig:
    rule: str = setting(
        "sum", "how the documents' adapters become one: see docs/merging.md", choices=MERGE_RULES
    )
    density: float = setting(
        0.9, "ties, dare: share of a factor's entries that is kept; low ranks have few to spare", gt=0, le=1
    )
    sharpness: float = setting(
        1.0, "score_weighted: a document weighs (its score / the best) to this power", ge=0
    )
    rank: int | None = setting(None, "svd: of what is left; null: one document's", ge=1)
    seed: int = setting(0, "dare: which entries are dropped")
    warm: WarmCount = setting(
        WarmCount.once,
        "what documents' adapters started from counts once, or with every document, as published",
    )


@dataclass
class MethodsConfig:
    """Of the methods that retrieve while they generate. A null threshold is the one published for `dataset`."""

    dataset: str = setting("2wiki", "whose published thresholds count: 2wiki or hotpotqa", choices=DATASETS)
    max_rounds: int = setting(5, "retrievals for one question: flare, flare_lookahead, dragin", ge=1)
    max_documents: int = setting(
        15, "for one question: passages that ircot collects; adapters that any of them merges", ge=1
    )
    sentence_tokens: int = setting(64, "the longest sentence that ircot reads", ge=1)
    ircot_sentences: int = setting(10, "of reasoning at most", ge=1)
    flare_threshold: float | None = setting(
        None, "retrieve for a sentence whose mean (1 - p) is above; drop its tokens above", ge=0
    )
    lookahead_tokens: int = setting(64, "flare_lookahead: how far a draft goes", ge=1)
    lookahead_act_below: float = setting(
        0.8, "flare_lookahead: retrieve if a token of the next sentence is no likelier", gt=0, le=1
    )
    lookahead_blank_below: float = setting(
        0.4, "flare_lookahead: and leave tokens no likelier than this out of the query", gt=0, le=1
    )
    dragin_threshold: float | None = setting(None, "retrieve for a word whose score is above", ge=0)
    dragin_tokens: int = setting(64, "how far a draft goes", ge=1)
    dragin_query_words: int | None = setting(
        None, "words of a query at most; null: as published for `dataset`", ge=1
    )
    dragin_scale: bool = setting(
        True, "attention in shares of its sentence's, times the sentence's words, as published"
    )
    router: str | None = setting(
        None, "adaptive_…: the folder of what prag train-router made", path=PathKind.local
    )
    router_confidence: float | None = setting(
        None,
        "adaptive_…: null: the likeliest strategy, as published; else the cheapest that, with those cheaper, is this likely",
        gt=0,
        le=1,
    )


@dataclass
class RouterConfig:
    """Of prag train-router. The router itself lies in `methods.router`."""

    questions: str = setting(
        "${root:examples/mini/questions.train.jsonl}",
        "none of which may be among evaluate.questions",
        path=PathKind.local,
    )
    limit: int | None = setting(None, "read only the first so many questions", ge=1)
    strategies: list[str] | None = setting(None, "cheapest first; null: the method's own")
    single_hop_types: list[str] = setting_of(
        lambda: ["single", "single-hop", "simple"], "other types: several hops"
    )
    retrieval_features: bool | None = setting(
        None, "look at what a question retrieves; null: if it cross-validates better"
    )
    folds: int = setting(5, "of the cross-validation", ge=2)
    held_out: float = setting(0.25, "share of the questions that only the final figures are of", gt=0, le=1)
    seed: int = setting(0, "seed of the splits")


@dataclass
class CalibrateConfig:
    """Of prag calibrate."""

    questions: str = setting(
        "${root:examples/mini/questions.dev.jsonl}",
        "none of which may be among evaluate.questions",
        path=PathKind.local,
    )
    limit: int | None = setting(None, "read only the first so many questions", ge=1)
    methods: list[str] = setting_of(
        lambda: ["flare", "flare_lookahead"], "methods whose thresholds are chosen"
    )
    values: int = setting(
        5,
        "tried of each threshold: quantiles of what it is compared with, beside the value that is set",
        ge=1,
    )
    tolerance: float = setting(0.01, "of F1 that fewer retrievals are worth", ge=0)
    out: str = setting("out/thresholds.yaml", "settings, for a further --config", path=PathKind.local)


@dataclass
class EngineConfig:
    kind: EngineKind = setting(EngineKind.vllm, "engine that answers")
    dtype: Dtype = setting(Dtype.bfloat16, "precision of the model that answers")
    max_sequences: int = setting(32, "requests in one batch; each may carry its own adapter", ge=1)
    gpu_memory_utilization: float = setting(0.9, "share of a GPU's memory that vLLM takes", gt=0, le=1)
    kv_cache_gigabytes: int = setting(1, "of the CPU backend", ge=1)
    max_new_tokens: int | None = setting(None, "null: 20, or 128 with prompt.cot", ge=1)


@dataclass
class EvaluateConfig:
    questions: str = setting(
        "${root:examples/mini/questions.test.jsonl}", "the question file", path=PathKind.local
    )
    format: QuestionFormat = setting(
        QuestionFormat.auto, "a published question set's own file format, or jsonl; auto: as it begins"
    )
    type: str | None = setting(None, "only questions of this type")
    methods: list[str] = setting_of(
        lambda: ["closed_book", "rag", "prag", "combine", "prag_irrelevant"],
        "methods that answer; method@name uses the bank evaluate.banks.name",
    )
    banks: dict[str, str] = setting_of(dict, "further banks by name; prag@name runs prag on that bank")
    baselines: list[str] = setting_of(lambda: ["rag", "prag"], "methods that paired tests compare against")
    out: str = setting("out/evaluate", "folder of the report", path=PathKind.local)
    limit: int | None = setting(None, "only the first so many (of `type`)", ge=1)
    num_resamples: int = setting(2000, "resamples of intervals and paired tests", ge=1)
    seed: int = setting(0, "seed of resamples and of the control's documents")


@dataclass
class AblateConfig:
    out: str = setting("out/ablations", "banks, answers and tables of prag ablate", path=PathKind.local)


@dataclass
class PaperConfig:
    data: str = setting(
        "data",
        "question sets and corpus that prag paper reads; conf/paper/setup.yaml says how they lie there",
        path=PathKind.local,
    )
    out: str = setting("out/paper", "narrowed corpora, banks, answers and tables", path=PathKind.local)


@dataclass
class ServeConfig:
    host: str = setting("127.0.0.1", "the one port that listens beyond loopback, if this says so")
    port: int = setting(8000, "port of the endpoint", ge=1, le=65535)
    keys: str | None = setting(
        None, "a file of API keys (prag keys); null: everybody may ask everything", path=PathKind.local
    )
    cors_origins: list[str] = setting_of(
        list, 'of web pages whose scripts may ask, e.g. https://app.example; "*": of every page'
    )
    methods: list[str] = setting_of(
        lambda: ["closed_book", "rag", "prag", "combine"],
        "methods offered; if none uses adapters, the engine starts without room for any; flare+prag and the like need more",
    )
    generators: int = setting(1, "engines at least", ge=1)
    max_generators: int = setting(
        1, "engines at most; more than `generators`: as many as the load asks for", ge=1
    )
    generator_cpus: float = setting(1, "processors of one engine", ge=0)
    generator_gpus: float = setting(0, "GPUs of one engine", ge=0)
    retrievers: int = setting(1, "retriever replicas", ge=1)
    ingresses: int = setting(1, "HTTP replicas", ge=1)
    max_top_k: int | None = setting(
        None,
        "documents a request may ask for; null: as many as adapters of retrieval.top_k leave room for",
        ge=1,
    )
    max_new_tokens: int = setting(512, "a request may ask for", ge=1)
    max_body_kilobytes: int = setting(512, "the largest request body", ge=1)
    max_characters: int = setting(100000, "of a request's messages, or its prompt, together", ge=1)
    max_ongoing: int = setting(64, "requests that one engine works on", ge=1)
    max_queued: int = setting(128, "requests that wait at one ingress for an engine; beyond, 503", ge=1)
    timeout_seconds: float = setting(120, "a request that takes longer ends with 503", ge=1)
    drain_seconds: float = setting(
        60, "a replica that is to stop may take this long over the requests it has", ge=0
    )
    health_seconds: float = setting(2, "between two looks at whether an engine lives", ge=0)
    poll_seconds: float = setting(5, "between two looks for a new snapshot", ge=0)
    adapter_cache_megabytes: int = setting(1024, "adapters that one engine keeps in memory", ge=0)
    damaged_seconds: float = setting(
        60, "how long an adapter that could not be read is not tried again", ge=0
    )
    grace_seconds: float = setting(
        10, "how long a merged adapter stays installed after its last request", ge=0
    )


@dataclass
class RayConfig:
    address: str | None = setting(None, 'null: a Ray of this process; "auto" or ray://… : a running cluster')
    augment_actors: int = setting(1, "actors that augment", ge=1)
    augment_cpus: float = setting(1, "processors of each", ge=0)
    augment_gpus: float = setting(0, "GPUs of each", ge=0)
    train_actors: int = setting(1, "actors that train", ge=1)
    train_cpus: float = setting(1, "processors of each", ge=0)
    train_gpus: float = setting(0, "GPUs of each", ge=0)
    max_attempts: int = setting(3, "of a shard whose actor died", ge=1)


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
