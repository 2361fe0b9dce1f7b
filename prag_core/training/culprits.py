"""Documents whose text makes the work on a whole batch raise: found by halving, so that their neighbours go on without them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from prag_core.errors import BankError, ConfigError, CorpusError, EngineDiedError, ModelError
from prag_core.records import Failure, Key

T = TypeVar("T")
R = TypeVar("R")
logger = logging.getLogger(__name__)

NO_DOCUMENTS_FAULT = (
    BankError,
    ConfigError,
    EngineDiedError,
    MemoryError,
    ModelError,
    OSError,
    torch.OutOfMemoryError,
)


def isolate(
    work: Callable[[Sequence[T]], R], items: Sequence[T], harmless: T
) -> list[tuple[Sequence[T], R | Exception]]:
    """Do the work on all of `items` together; where it raises, on each half, until the culprit is alone. Returns the parts in
    order, each with its result, or with the exception that one item raised.

    Raises what is no document's fault: memory, storage, the bank, settings, a broken engine, and all that the harmless item
    raises, too.
    """
    try:
        return [(items, work(items))]
    except NO_DOCUMENTS_FAULT:
        raise
    except Exception as error:
        if len(items) == 1:
            if not isinstance(error, CorpusError):  # which names the document itself
                logger.warning("a document is quarantined, because the work on it raised", exc_info=error)
                work([harmless])
            return [(items, error)]
    half = len(items) // 2
    return [*isolate(work, items[:half], harmless), *isolate(work, items[half:], harmless)]


def quarantined(key: Key, content_hash: str, stage: str, error: Exception) -> Failure:
    """Return the record of a document that made the work of `stage` raise."""
    return Failure(*key, content_hash, stage, reason_of(error), attempts=1)


def reason_of(error: Exception) -> str:
    """Return why a document is quarantined: the exception's type and its first line; of a CorpusError its own words."""
    text = str(error).encode("utf-8", "replace").decode()
    if isinstance(error, CorpusError):
        return text
    return ": ".join([type(error).__name__, *text.strip().splitlines()[:1]])
