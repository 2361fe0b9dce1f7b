"""Ways of answering a question, by name."""

from __future__ import annotations

from collections.abc import Iterable

from prag_core.answering.adaptive.adaptive_rag import AdaptiveRag
from prag_core.answering.base import Method, Tools
from prag_core.answering.closed_book import ClosedBook
from prag_core.answering.da_rag import DaRag
from prag_core.answering.iterative.dragin import Dragin
from prag_core.answering.iterative.flare import Flare
from prag_core.answering.iterative.ircot import IrCot
from prag_core.answering.one_round import OneRound
from prag_core.answering.retrieve_once import IrrelevantAdapters, RetrieveOnce
from prag_core.answering.warm_only import WarmOnly
from prag_core.config.schema import Config
from prag_core.errors import ConfigError, did_you_mean

__all__ = ["METHODS", "SERVED", "Method", "OneRound", "Tools", "find_method", "most_documents"]

CONTROL = "it is a control, for evaluations"
LABELS = "it answers from labelled documents, which no request has"

_FIXED: tuple[Method, ...] = (
    ClosedBook(name="closed_book"),
    RetrieveOnce(name="rag", text=True, merges=False),
    RetrieveOnce(name="prag", text=False, merges=True),
    RetrieveOnce(name="combine", text=True, merges=True),
    IrrelevantAdapters(name="prag_irrelevant", not_served=CONTROL),
    WarmOnly(name="warm_only", not_served=CONTROL),
    RetrieveOnce(name="rag_gold", text=True, merges=False, gold=True, not_served=LABELS),
    RetrieveOnce(name="prag_gold", text=False, merges=True, gold=True, not_served=LABELS),
    RetrieveOnce(name="combine_gold", text=True, merges=True, gold=True, not_served=LABELS),
    DaRag(name="da_rag", merges=False),
    DaRag(name="da_rag+prag", merges=True),
    IrCot(name="ircot", merges=False),
    IrCot(name="ircot+prag", merges=True),
    Flare(name="flare", look_ahead=False, merges=False),
    Flare(name="flare+prag", look_ahead=False, merges=True),
    Flare(name="flare_lookahead", look_ahead=True, merges=False),
    Flare(name="flare_lookahead+prag", look_ahead=True, merges=True),
    Dragin(name="dragin", merges=False),
    Dragin(name="dragin+prag", merges=True),
)
_BY_NAME = {method.name: method for method in _FIXED}
_ADAPTIVE = (
    AdaptiveRag(name="adaptive_rag", default=("closed_book", "rag", "ircot"), methods=_BY_NAME),
    AdaptiveRag(name="adaptive_rag+prag", default=("closed_book", "combine", "ircot+prag"), methods=_BY_NAME),
    AdaptiveRag(name="adaptive_prag", default=("closed_book", "prag", "rag", "combine"), methods=_BY_NAME),
)
METHODS: dict[str, Method] = _BY_NAME | {method.name: method for method in _ADAPTIVE}
SERVED = {name: method for name, method in METHODS.items() if method.not_served is None}


def find_method(name: str) -> Method:
    """Return the method of that name. Raises ConfigError naming the nearest known one."""
    if name not in METHODS:
        raise ConfigError(f"no method {name!r}{did_you_mean(name, METHODS)} (known: {', '.join(METHODS)})")
    return METHODS[name]


def most_documents(methods: Iterable[Method], config: Config) -> int:
    """Return the most adapters that a question may have merged by any of these. Raises ConfigError where the engine of `config`
    cannot run one of them."""
    return max(config.retrieval.top_k, *(method.most_documents(config) for method in methods), 0)
