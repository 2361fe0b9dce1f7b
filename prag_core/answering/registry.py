"""Ways of answering a question, by name."""

from __future__ import annotations

from collections.abc import Iterable

from prag_core.answering.adaptive.adaptive_rag import AdaptiveRag
from prag_core.answering.base import Demanding, Method, OneRound, SeveralRounds, Tools
from prag_core.answering.closed_book import ClosedBook
from prag_core.answering.da_rag import DaRag
from prag_core.answering.iterative.dragin import Dragin
from prag_core.answering.iterative.flare import Flare
from prag_core.answering.iterative.ircot import IrCot
from prag_core.answering.retrieve_once import IrrelevantAdapters, RetrieveOnce
from prag_core.answering.warm_only import WarmOnly
from prag_core.config.schema import Config
from prag_core.errors import ConfigError, did_you_mean

__all__ = [
    "METHODS",
    "NOT_SERVED",
    "SERVED",
    "Method",
    "OneRound",
    "SeveralRounds",
    "Tools",
    "find_method",
    "merges_adapters",
    "most_documents",
    "retrieves",
]

_FIXED: tuple[Method, ...] = (
    ClosedBook(),
    RetrieveOnce("rag", text=True, adapters=False),
    RetrieveOnce("prag", text=False, adapters=True),
    RetrieveOnce("combine", text=True, adapters=True),
    IrrelevantAdapters(),
    WarmOnly(),
    RetrieveOnce("rag_gold", text=True, adapters=False, gold=True),
    RetrieveOnce("prag_gold", text=False, adapters=True, gold=True),
    RetrieveOnce("combine_gold", text=True, adapters=True, gold=True),
    DaRag("da_rag", parametric=False),
    DaRag("da_rag+prag", parametric=True),
    IrCot("ircot", parametric=False),
    IrCot("ircot+prag", parametric=True),
    Flare("flare", look_ahead=False, parametric=False),
    Flare("flare+prag", look_ahead=False, parametric=True),
    Flare("flare_lookahead", look_ahead=True, parametric=False),
    Flare("flare_lookahead+prag", look_ahead=True, parametric=True),
    Dragin("dragin", parametric=False),
    Dragin("dragin+prag", parametric=True),
)
_BY_NAME = {method.name: method for method in _FIXED}
_ALL: tuple[Method, ...] = (
    *_FIXED,
    AdaptiveRag("adaptive_rag", ("closed_book", "rag", "ircot"), _BY_NAME),
    AdaptiveRag("adaptive_rag+prag", ("closed_book", "combine", "ircot+prag"), _BY_NAME),
    AdaptiveRag("adaptive_prag", ("closed_book", "prag", "rag", "combine"), _BY_NAME),
)
METHODS: dict[str, Method] = {method.name: method for method in _ALL}
NOT_SERVED = {  # by an endpoint, and why
    **dict.fromkeys(("prag_irrelevant", "warm_only"), "it is a control, for evaluations"),
    **{
        m.name: "it answers from labelled documents, which no request has"
        for m in _ALL
        if isinstance(m, OneRound) and m.gold
    },
    **{
        m.name: "it reads attentions, which vLLM, the endpoint's engine, does not give"
        for m in _ALL
        if isinstance(m, Dragin)
    },
}
SERVED: dict[str, OneRound | SeveralRounds] = {
    m.name: m for m in _ALL if isinstance(m, OneRound | SeveralRounds) and m.name not in NOT_SERVED
}


def find_method(name: str) -> Method:
    """The method of that name. Raises ConfigError naming the nearest known one."""
    if name not in METHODS:
        raise ConfigError(f"no method {name!r}{did_you_mean(name, METHODS)} (known: {', '.join(METHODS)})")
    return METHODS[name]


def retrieves(method: OneRound | SeveralRounds) -> bool:
    """Whether it has a use for documents at all."""
    return not isinstance(method, OneRound) or method.text or method.adapters


def merges_adapters(method: OneRound | SeveralRounds) -> bool:
    """Whether it needs an engine with room for adapters."""
    return method.adapters if isinstance(method, OneRound) else method.parametric


def most_documents(methods: Iterable[Method], config: Config) -> int:
    """The most adapters that a question may have merged by any of these. Raises ConfigError where the engine of `config`
    cannot run one of them."""
    own = (method.most_documents(config) for method in methods if isinstance(method, Demanding))
    return max(config.retrieval.top_k, *own, 0)
