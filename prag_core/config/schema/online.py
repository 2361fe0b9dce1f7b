"""Settings of answering: retrieval, merging, methods, the engine and the endpoint."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from prag_core.config.schema.names import DATASETS, MERGE_RULES, METHODS, STEMMERS, STOPWORDS
from prag_core.config.schema.offline import Dtype, EngineKind
from prag_core.config.setting import PathKind, setting, setting_of


class WarmCount(Enum):
    once = "once"
    every = "every"


@dataclass
class RetrievalConfig:
    top_k: int = setting(3, "Number of passages that one retrieval returns.", ge=1)
    k1: float = setting(
        1.2, "BM25's k1: the larger, the more a repeated word still adds to a passage's score.", ge=0
    )
    b: float = setting(
        0.75, "BM25's b: the larger, the more a long document's score is discounted.", ge=0, le=1
    )
    stemmer: str | None = setting(
        "english",
        "Snowball stemmer that reduces words to stems; null leaves words as they are.",
        choices=STEMMERS,
    )
    stopwords: str | None = setting(
        "english_plus",
        "List of stop words, of the package bm25s; english is a short list; null drops no words.",
        choices=STOPWORDS,
    )
    as_narrowed: bool = setting(
        False,
        "Whether questions find in a corpus that prag narrow wrote exactly what they found in the whole corpus.",
    )


@dataclass
class MergeConfig:
    rule: str = setting(
        "sum",
        "How the adapters of several documents become one adapter (docs/merging.md).",
        choices=MERGE_RULES,
    )
    density: float = setting(
        0.9,
        "For ties and dare: share of a factor's entries that is kept; low ranks have few to spare.",
        gt=0,
        le=1,
    )
    sharpness: float = setting(
        1.0, "For score_weighted: power of (score / best score) that a document's weight is.", ge=0
    )
    rank: int | None = setting(
        None, "For svd: rank of the merged adapter; null takes the rank of one document's adapter.", ge=1
    )
    seed: int = setting(0, "For dare: random seed of the entries that are dropped.")
    warm: WarmCount = setting(
        WarmCount.once,
        "Whether the warm start that documents' adapters began with counts once in a merge, or with every document, "
        "as published.",
    )


@dataclass
class MethodsConfig:
    """Of the methods that retrieve while they generate. A null threshold is the one published for `dataset`."""

    dataset: str = setting(
        "2wiki", "Question set whose published thresholds hold where a threshold is null.", choices=DATASETS
    )
    max_rounds: int = setting(
        5, "For flare, flare_lookahead and dragin: largest number of retrievals for one question.", ge=1
    )
    max_documents: int = setting(
        15,
        "Largest number of passages that ircot collects for one question, and of adapters that any of these methods merges.",
        ge=1,
    )
    sentence_tokens: int = setting(
        64, "For ircot: largest number of tokens in a sentence of reasoning.", ge=1
    )
    ircot_sentences: int = setting(10, "For ircot: largest number of sentences of reasoning.", ge=1)
    flare_threshold: float | None = setting(
        None,
        "For flare: a sentence whose mean of 1 - p over its tokens is above this is looked up, without its tokens whose "
        "1 - p is above it; null takes the published value.",
        ge=0,
    )
    lookahead_tokens: int = setting(64, "For flare_lookahead: largest number of tokens in a draft.", ge=1)
    lookahead_act_below: float = setting(
        0.8,
        "For flare_lookahead: a draft's next sentence is looked up if one of its tokens has at most this probability.",
        gt=0,
        le=1,
    )
    lookahead_blank_below: float = setting(
        0.4, "For flare_lookahead: tokens of at most this probability are left out of the query.", gt=0, le=1
    )
    dragin_threshold: float | None = setting(
        None,
        "For dragin: a word whose score (entropy times attention) is above this is looked up; null takes the published value.",
        ge=0,
    )
    dragin_tokens: int = setting(64, "For dragin: largest number of tokens in a draft.", ge=1)
    dragin_query_words: int | None = setting(
        None, "For dragin: largest number of words in a query; null takes the published value.", ge=1
    )
    dragin_scale: bool = setting(
        True,
        "For dragin: whether attention is a word's share of its sentence's, times the sentence's number of words, as published.",
    )
    router: str | None = setting(
        None,
        "For the adaptive methods: folder of the routers that prag train-router writes.",
        path=PathKind.local,
    )
    router_confidence: float | None = setting(
        None,
        "For the adaptive methods: probability with which the chosen strategy, or a cheaper one, is to be enough; "
        "null takes the likeliest strategy, as published.",
        gt=0,
        le=1,
    )


@dataclass
class EngineConfig:
    kind: EngineKind = setting(EngineKind.vllm, "Engine that answers.")
    dtype: Dtype = setting(Dtype.bfloat16, "Precision of the model that answers.")
    max_sequences: int = setting(
        32, "Largest number of requests in one batch; each may carry an adapter of its own.", ge=1
    )
    gpu_memory_utilization: float = setting(0.9, "Share of a GPU's memory that vLLM takes.", gt=0, le=1)
    kv_cache_gigabytes: int = setting(1, "Size of vLLM's KV cache on a processor, in gigabytes.", ge=1)
    max_new_tokens: int | None = setting(
        None,
        "Largest number of tokens in an answer; null allows 20, or 128 where the prompt asks for reasoning.",
        ge=1,
    )


@dataclass
class ServeConfig:
    host: str = setting(
        "127.0.0.1", "Address that the endpoint listens on; 0.0.0.0 is every address of the machine."
    )
    port: int = setting(8000, "Port that the endpoint listens on.", ge=1, le=65535)
    keys: str | None = setting(
        None,
        "File of API keys, as prag keys writes it; null lets everybody ask everything.",
        path=PathKind.local,
    )
    cors_origins: list[str] = setting_of(
        list,
        'Origins of web pages whose scripts may ask, such as https://app.example; "*" is every page.',
    )
    methods: list[str] = setting_of(
        lambda: ["closed_book", "rag", "prag", "combine"],
        "Methods that the endpoint offers; if none uses adapters, the engine starts without room for any.",
        choices=METHODS,
    )
    generators: int = setting(1, "Smallest number of engines.", ge=1)
    max_generators: int = setting(
        1,
        "Largest number of engines; if above serve.generators, there are as many between the two as the load asks for.",
        ge=1,
    )
    generator_cpus: float = setting(1, "Number of processors of one engine.", ge=0)
    generator_gpus: float = setting(0, "Number of GPUs of one engine.", ge=0)
    retrievers: int = setting(1, "Number of replicas that retrieve.", ge=1)
    ingresses: int = setting(1, "Number of replicas that take HTTP requests.", ge=1)
    max_top_k: int | None = setting(
        None,
        "Largest number of documents that a request may ask for; null allows as many as the engine's adapters have room for.",
        ge=1,
    )
    max_new_tokens: int = setting(512, "Largest number of tokens that a request may ask for.", ge=1)
    max_body_kilobytes: int = setting(512, "Largest size of a request's body, in kilobytes.", ge=1)
    max_characters: int = setting(
        100000, "Largest number of characters in a request's messages, or its prompt, together.", ge=1
    )
    max_ongoing: int = setting(64, "Largest number of requests that one engine works on at a time.", ge=1)
    max_queued: int = setting(
        128,
        "Largest number of requests that wait at one ingress for an engine; those beyond are answered with 503.",
        ge=1,
    )
    timeout_seconds: float = setting(
        120, "Seconds after which a request that is not answered ends with 503.", ge=1
    )
    drain_seconds: float = setting(
        60, "Seconds that a replica which is to stop may take to finish the requests it has.", ge=0
    )
    health_seconds: float = setting(2, "Seconds between two checks of whether an engine lives.", ge=0)
    poll_seconds: float = setting(5, "Seconds between two looks for a new snapshot.", ge=0)
    adapter_cache_megabytes: int = setting(
        1024, "Size of the adapters that one engine keeps in memory, in megabytes.", ge=0
    )
    damaged_seconds: float = setting(
        60, "Seconds for which an adapter that could not be read is not tried again.", ge=0
    )
    grace_seconds: float = setting(
        10, "Seconds for which a merged adapter stays installed after its last request.", ge=0
    )
