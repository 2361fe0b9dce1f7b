"""Every setting, typed, with its default; how files, recipes and `key=value` overrides become one configuration.

Order, later wins: the defaults below, the recipe's file (`conf/recipe/<name>.yaml`), a file given with --config, then
overrides. Unknown keys and wrong types are ConfigErrors that name the key, and the nearest known one.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from prag_core.choices import Dtype, Tier
from prag_core.config_checks import check_ranges, suggest
from prag_core.errors import ConfigError

ROOT = Path(__file__).resolve().parent.parent
CONF = ROOT / "conf"
OmegaConf.register_resolver("root", lambda path: str(ROOT / path), replace=True)  # ${root:path}: within the checkout


class CorpusFormat(Enum):
    auto = "auto"
    jsonl = "jsonl"
    parquet = "parquet"
    tsv = "tsv"


class LongDocuments(Enum):
    quarantine = "quarantine"
    chunk = "chunk"


class EngineKind(Enum):
    vllm = "vllm"
    transformers = "transformers"


@dataclass
class CorpusConfig:
    uri: str = "${root:examples/mini/corpus.jsonl}"  # file, folder or glob; any fsspec URI
    format: CorpusFormat = CorpusFormat.auto
    limit: int | None = None  # read only the first so many documents
    long_documents: LongDocuments = LongDocuments.quarantine  # what to do with text longer than the model's context
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
    num_qa_pairs: int = 3
    max_new_tokens: int = 512
    temperature: float = 0.7
    top_k: int = 50
    max_attempts: int = 4  # a document that still fails is quarantined
    seed: int = 0
    uri: str | None = None  # take augmentations from another bank where it has them


@dataclass
class TrainingConfig:
    objective: str = "next_token"
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
    repeat_without_passage: bool = False  # ask the pairs that are asked over a passage once more without it
    replay_uri: str | None = None  # JSONL of {question, answer, passages}: samples about other subjects
    replay_samples: int = 0  # how many of them each document trains on beside its own
    cohort_documents: int | None = None  # documents trained at once; null: from free memory
    threads: int | None = None  # of one training process on CPU; null: torch's choice
    compile: bool = False  # torch.compile, meant for GPUs: on a processor it does not pay (benchmarks/README.md)


@dataclass
class RetrievalConfig:
    top_k: int = 3
    k1: float = 1.2  # BM25: how soon a repeated word stops counting
    b: float = 0.75  # BM25: how much long documents are discounted, 0 to 1
    stemmer: str | None = "english"  # a Snowball language
    stopwords: str | None = "english_plus"  # a list of bm25s; english is a short one


@dataclass
class MergeConfig:
    rule: str = "sum"  # how the documents' adapters become one: a name in prag_core/merge
    density: float = 0.9  # ties, dare: share of a factor's entries that is kept; low ranks have few to spare
    sharpness: float = 1.0  # score_weighted: a document weighs (its score / the best) to this power
    rank: int | None = None  # svd: of what is left; null: one document's
    seed: int = 0  # dare: which entries are dropped


@dataclass
class MethodsConfig:
    """Of the methods that retrieve while they generate. A null threshold is the one published for `dataset`."""

    dataset: str = "2wiki"  # whose published thresholds count: 2wiki or hotpotqa
    max_rounds: int = 5  # retrievals for one question: flare, flare_lookahead, dragin
    max_documents: int = 15  # for one question: passages that ircot collects; adapters that any of them merges
    sentence_tokens: int = 64  # the longest sentence that ircot reads
    ircot_sentences: int = 10  # of reasoning at most
    flare_threshold: float | None = None  # retrieve for a sentence whose mean (1 - p) is above; drop its tokens above
    lookahead_tokens: int = 64  # flare_lookahead: how far a draft goes
    lookahead_act_below: float = 0.8  # flare_lookahead: retrieve if a token of the next sentence is no likelier
    lookahead_blank_below: float = 0.4  # flare_lookahead: and leave tokens no likelier than this out of the query
    dragin_threshold: float | None = None  # retrieve for a word whose score is above
    dragin_tokens: int = 64  # how far a draft goes
    dragin_query_words: int | None = None  # words of a query at most; null: as published for `dataset`
    dragin_scale: bool = True  # attention in shares of its sentence's, times the sentence's words, as published


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
    methods: list[str] = field(default_factory=lambda: ["closed_book", "rag", "prag", "combine", "prag_irrelevant"])
    banks: dict[str, str] = field(default_factory=dict)  # further banks by name; prag@name runs prag on that bank
    baselines: list[str] = field(default_factory=lambda: ["rag", "prag"])  # methods that paired tests compare against
    out: str = "out/evaluate"
    limit: int | None = None
    num_resamples: int = 2000
    seed: int = 0


@dataclass
class ServeConfig:
    host: str = "127.0.0.1"  # the one port that listens beyond loopback, if this says so
    port: int = 8000
    keys: str | None = None  # a file of API keys (prag keys); null: everybody may ask everything
    methods: list[str] = field(default_factory=lambda: ["closed_book", "rag", "prag", "combine"])  # offered; if none of them
    # uses adapters, the engine starts without room for any and is faster
    generators: int = 1  # engines at least
    max_generators: int = 1  # engines at most; more than `generators`: as many as the load asks for
    generator_cpus: float = 1
    generator_gpus: float = 0
    retrievers: int = 1
    ingresses: int = 1
    max_top_k: int | None = None  # documents a request may ask for; null: as many as adapters of retrieval.top_k leave room for
    max_new_tokens: int = 512  # a request may ask for
    max_body_kilobytes: int = 512
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
    retrieval: RetrievalConfig = field(default_factory=RetrievalConfig)
    merge: MergeConfig = field(default_factory=MergeConfig)
    methods: MethodsConfig = field(default_factory=MethodsConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    serve: ServeConfig = field(default_factory=ServeConfig)
    ray: RayConfig = field(default_factory=RayConfig)


def load_config(overrides: Sequence[str] = (), file: str | None = None) -> Config:
    """Defaults, recipe, file, overrides → one checked Config. Raises ConfigError on anything unknown, ill-typed or out of
    range."""
    base = OmegaConf.structured(Config)
    from_file = _load_yaml(Path(file)) if file else OmegaConf.create()
    from_user = _parse_overrides(overrides)
    recipe = from_user.get("recipe") or from_file.get("recipe") or base.recipe
    config = base
    for source in (_load_recipe(str(recipe)), from_file, from_user):
        config = _merge(config, source)
    try:
        resolved = cast(Config, OmegaConf.to_object(config))
    except OmegaConfBaseException as error:
        raise _config_error(error) from None
    check_ranges(as_dict(resolved))
    return resolved


def absolute_paths(config: Config) -> Config:
    """The same configuration with relative local paths made absolute, as processes elsewhere need them. URIs and hub
    names (a relative path that is not there) stay as they are."""

    def absolute(uri: str) -> str:
        return uri if "://" in uri else os.path.abspath(os.path.expanduser(uri))

    def model(path: str) -> str:
        return absolute(path) if os.path.isdir(os.path.expanduser(path)) else path

    writer = config.augmentation
    return replace(
        config,
        corpus=replace(config.corpus, uri=absolute(config.corpus.uri)),
        bank=replace(config.bank, uri=absolute(config.bank.uri)),
        model=replace(config.model, path=model(config.model.path)),
        prompt=replace(config.prompt, fewshot=config.prompt.fewshot and absolute(config.prompt.fewshot)),
        augmentation=replace(writer, uri=writer.uri and absolute(writer.uri), model=writer.model and model(writer.model)),
        training=replace(config.training, replay_uri=config.training.replay_uri and absolute(config.training.replay_uri)),
        serve=replace(config.serve, keys=config.serve.keys and absolute(config.serve.keys)),
        evaluate=replace(config.evaluate, questions=absolute(config.evaluate.questions), out=absolute(config.evaluate.out)),
    )


def as_yaml(config: Config) -> str:
    """The resolved configuration as YAML, for --print-config and for the record of a run."""
    return OmegaConf.to_yaml(OmegaConf.structured(config), resolve=True)


def as_dict(config: Any) -> dict[str, Any]:
    """A configuration (or one section) as plain JSON values; enums by name."""
    container = OmegaConf.to_container(OmegaConf.structured(config), enum_to_str=True)
    return cast(dict[str, Any], container)


def _load_recipe(name: str) -> DictConfig:
    path = Path(name) if name.endswith((".yaml", ".yml")) else CONF / "recipe" / f"{name}.yaml"
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in (CONF / "recipe").glob("*.yaml")))
        raise ConfigError(f"recipe={name}: no such recipe; known: {known}, or the path of a YAML file")
    return _merge_recipe_name(_load_yaml(path), name)


def _merge_recipe_name(recipe: DictConfig, name: str) -> DictConfig:
    return cast(DictConfig, OmegaConf.merge(recipe, {"recipe": name}))


def _load_yaml(path: Path) -> DictConfig:
    try:
        loaded = OmegaConf.load(path)
    except FileNotFoundError:
        raise ConfigError(f"--config {path}: no such file") from None
    except Exception as error:
        raise ConfigError(f"{path}: not readable as YAML: {error}") from None
    if not isinstance(loaded, DictConfig):
        raise ConfigError(f"{path}: expected a mapping of settings")
    return loaded


def _parse_overrides(overrides: Sequence[str]) -> DictConfig:
    for item in overrides:
        if "=" not in item or item.startswith("="):
            raise ConfigError(f"{item!r}: settings are given as key=value, e.g. corpus.uri=corpus.jsonl")
    try:
        return OmegaConf.from_dotlist(list(overrides))
    except Exception as error:
        reason = " ".join(str(error).split())
        given = " ".join(overrides)
        raise ConfigError(f"cannot read the settings {given}: {reason}; put values with YAML's own signs in quotes") from None


def _merge(config: DictConfig, source: DictConfig) -> DictConfig:
    _refuse_unknown(config, source, prefix="")
    try:
        return cast(DictConfig, OmegaConf.merge(config, source))
    except (OmegaConfBaseException, TypeError) as error:
        raise _config_error(error) from None


def _config_error(error: Exception) -> ConfigError:
    key = getattr(error, "full_key", None) or "configuration"
    return ConfigError(f"{key}: {str(error).splitlines()[0]}")


def _refuse_unknown(config: DictConfig, source: DictConfig, prefix: str) -> None:
    for name, value in _nodes(source):
        key = f"{prefix}{name}"
        if name not in config:
            hint = suggest(_first_leaf(key, value), known_keys())
            raise ConfigError(f"unknown setting {_first_leaf(key, value)}{hint} (prag <verb> --print-config lists all)")
        expected = config._get_node(name)
        if isinstance(expected, DictConfig) and _is_section(expected):
            if not isinstance(value, DictConfig):
                raise ConfigError(f"{key} is a section; set one of its keys, e.g. {key}.{_nodes(expected)[0][0]}=…")
            _refuse_unknown(expected, value, prefix=f"{key}.")


def known_keys() -> list[str]:
    """Every setting's full name, sections spelled out: `training.epochs`."""

    def walk(config: DictConfig, prefix: str) -> list[str]:
        keys = []
        for name, node in _nodes(config):
            keys += walk(node, f"{prefix}{name}.") if _is_section(node) else [f"{prefix}{name}"]
        return keys

    return walk(OmegaConf.structured(Config), "")


def _nodes(config: DictConfig) -> list[tuple[str, Any]]:
    return [(str(name), config._get_node(name)) for name in config]


def _first_leaf(key: str, value: Any) -> str:
    """The first full setting name at or under `key`, as the user gave it."""
    while isinstance(value, DictConfig) and len(value):
        name, value = _nodes(value)[0]
        key = f"{key}.{name}"
    return key


def _is_section(node: Any) -> bool:
    """A group of settings, rather than one setting whose value is a mapping."""
    return isinstance(node, DictConfig) and OmegaConf.get_type(node) is not dict
