"""Background threads for a computing caller: `prefetch` makes its next items, `BackgroundWriter` writes its finished ones.

Both hold a bounded number of items, keep their order, and pass exceptions on. A thread is enough: tokenising, hashing and writing
leave Python's lock to the computing thread most of the time.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class _Raised:
    """An exception on its way through the queue."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


_END = object()


def prefetch(items: Iterable[T], depth: int) -> Iterator[T]:
    """Yield the items, made up to `depth` in advance by a thread. The thread ends with the iterator, exhausted or not."""
    made: queue.Queue[object] = queue.Queue(depth)
    stop = threading.Event()

    def put(item: object) -> None:
        while not stop.is_set():
            try:
                return made.put(item, timeout=0.1)
            except queue.Full:
                continue

    def make() -> None:
        try:
            for item in items:
                put(item)
                if stop.is_set():
                    return
            put(_END)
        except BaseException as error:
            put(_Raised(error))

    thread = threading.Thread(target=make, name="prefetch", daemon=True)
    thread.start()
    try:
        while (item := made.get()) is not _END:
            if isinstance(item, _Raised):
                raise item.error
            yield item  # type: ignore[misc]
    finally:
        stop.set()
        thread.join()


class BackgroundWriter(Generic[T]):
    """A context manager that calls `write` with every item put, in order, in a thread of its own. Leaving it waits for the last.

    `put` waits while `depth` items are unwritten; `seconds_waited` is how long it did in all, `seconds_busy` how long `write`
    worked. An exception of `write` is raised by the next `put`, or on leaving; later items are then dropped.
    """

    def __init__(self, write: Callable[[T], object], depth: int) -> None:
        self.write = write
        self.seconds_waited = self.seconds_busy = 0.0
        self._items: queue.Queue[T | object] = queue.Queue(depth)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="background-writer", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wait(_END)
        start = time.perf_counter()
        self._thread.join()
        self.seconds_waited += time.perf_counter() - start
        if self._error and error is None:
            raise self._error

    def put(self, item: T) -> None:
        if self._error:
            raise self._error
        self._wait(item)

    def _wait(self, item: T | object) -> None:
        start = time.perf_counter()
        self._items.put(item)
        self.seconds_waited += time.perf_counter() - start

    def _run(self) -> None:
        while (item := self._items.get()) is not _END:
            if self._error is None:
                start = time.perf_counter()
                try:
                    self.write(item)  # type: ignore[arg-type]
                except BaseException as error:
                    self._error = error
                self.seconds_busy += time.perf_counter() - start
