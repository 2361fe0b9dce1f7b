"""What an engine does after a failure: go on without the batch that failed, or say that it is broken for good.

A text can make a model, a tokenizer or a grammar raise. That is a refusal of its batch, as long as the engine works without
it, so that the text can be found and its neighbours be served.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from prag_core.errors import EngineDiedError, EngineError

logger = logging.getLogger(__name__)


@contextmanager
def generating(engine: str, recover: Callable[[], None]) -> Iterator[None]:
    """Raise EngineError for whatever goes wrong while generating. It is an EngineDiedError where memory ran out, or where
    `recover`, which clears the engine and probes it, raises as well."""
    try:
        yield
    except EngineError:
        raise
    except Exception as error:
        failed = f"{engine} failed while generating: {type(error).__name__}: {error}"
        if isinstance(error, MemoryError | torch.OutOfMemoryError):
            raise EngineDiedError(failed) from error
        try:
            recover()
        except Exception as broken:
            logger.warning("the engine does not recover", exc_info=broken)
            raise EngineDiedError(failed) from error
        raise EngineError(failed) from error
