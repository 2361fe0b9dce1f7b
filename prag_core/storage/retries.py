"""The one place that retries: a store that answered before and does not answer now is waited for.

Work that took hours is not thrown away because a store restarts. Waiting begins only with a store that has answered this process:
one that never did is more likely named wrongly, and is an error at once. It is said once on the log, with its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import Any, TypeVar

from fsspec import AbstractFileSystem
from fsspec.asyn import AsyncFileSystem, sync
from fsspec.implementations.local import LocalFileSystem

logger = logging.getLogger(__name__)

PATIENCE = 600.0  # seconds that a store is waited for
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0  # seconds between two attempts
SILENCE, SLOWEST = 30.0, 1e6  # an upload takes no more seconds than these, and one for so many bytes
AWAY = {  # names of errors, in whichever library: importing botocore or aiohttp takes half a second
    "ConnectionError",
    "TimeoutError",
    "HTTPClientError",
    "IncompleteRead",
    "IncompleteReadError",
    "ResponseParserError",
    "ClientConnectionError",
    "ClientPayloadError",
}
AWAY_STATUS = {408, 429, 500, 502, 503, 504}

_patience: ContextVar[float] = ContextVar("patience", default=PATIENCE)
T = TypeVar("T")


@contextlib.contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Wait no longer than this for a store, within the block and in this thread."""
    token = _patience.set(seconds)
    try:
        yield
    finally:
        _patience.reset(token)


def retried(fs: AbstractFileSystem, action: Callable[[], T]) -> T:
    """Do what may be done twice, again and again with growing pauses while the store does not answer. Raises the last error when
    patience is over. Errors that are answers, and those of local folders, are raised at once."""
    if isinstance(fs, LocalFileSystem):
        return action()
    end, wait = None, FIRST_WAIT
    while True:
        try:
            result = action()
        except Exception as error:
            if not is_away(error):
                fs.prag_away = False
                raise
            if end is None:
                end = time.monotonic() + (_patience.get() if hasattr(fs, "prag_away") else 0)
            if time.monotonic() + wait > end:
                raise
            _say_once(fs, end - time.monotonic(), error)
            time.sleep(wait * random.uniform(0.5, 1))
            wait = min(2 * wait, LONGEST_WAIT)
        else:
            if getattr(fs, "prag_away", False):
                logger.warning("the store answers again")
            fs.prag_away = False
            return result


def upload(fs: AbstractFileSystem, method: str, *args: Any, size: int, **options: Any) -> None:
    """Call a method that sends `size` bytes, with an end: aiobotocore has no time-out while it waits to send a body. Raises
    TimeoutError."""
    if not isinstance(fs, AsyncFileSystem):
        getattr(fs, method)(*args, **options)
        return
    sending = getattr(fs, f"_{method}")(*args, **options)
    sync(fs.loop, asyncio.wait_for, sending, SILENCE + size / SLOWEST)


def is_away(error: BaseException) -> bool:
    """Whether an error says that a store does not answer, or that it is too busy to."""
    return bool(AWAY & {kind.__name__ for kind in type(error).__mro__}) or http_status(error) in AWAY_STATUS


def http_status(error: BaseException) -> int | None:
    """The status of the answer that an error comes from, if it comes from one."""
    answer = getattr(error, "response", None) or getattr(error.__cause__, "response", None)
    fields = answer.get("ResponseMetadata") if isinstance(answer, dict) else None
    status = fields.get("HTTPStatusCode") if isinstance(fields, dict) else getattr(error, "status", None)
    return status if isinstance(status, int) else None


def _say_once(fs: AbstractFileSystem, seconds: float, error: Exception) -> None:
    """Say that a store is away, once until it answers again."""
    if not fs.prag_away:
        fs.prag_away = True
        until = datetime.now() + timedelta(seconds=seconds)
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        logger.warning("the store does not answer (%s); retrying until %s", reason, f"{until:%H:%M:%S}")
