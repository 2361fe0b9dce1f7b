"""A cache of documents' adapters in host memory: read once, bounded in bytes, without documents that were deleted.

It promises:
- of concurrent requests for an adapter one reads it, and the others wait for that one (single flight);
- what a request lacks is read at once, one ranged request an adapter, every byte checked against its digest;
- an adapter that is damaged or missing is not read again for a while, and fails no other;
- callers of different `salt` share nothing, so that response times tell none what another has asked for.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from cachetools import LRUCache

from prag_core.answering.merge_plan import UNREADABLE
from prag_core.bank import Entry
from prag_core.errors import StorageError
from prag_core.records import AdapterFactors, Key

logger = logging.getLogger("ray.serve")
Read = Callable[[Sequence[Entry]], tuple[Mapping[Key, AdapterFactors], Mapping[Key, str]]]
Name = tuple[str, str, str]  # salt, doc_id, the digest of the adapter's bytes


@dataclass(frozen=True, slots=True)
class Fetched:
    """Adapters by key, the reasons of those that cannot be read, and the number that was in memory."""

    factors: dict[Key, AdapterFactors]
    reasons: dict[Key, str]
    hits: int


class AdapterCache:
    """`read` runs in a thread; everything else on one event loop. The least recently used adapters make room."""

    def __init__(
        self, read: Read, max_bytes: int, damaged_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._read, self._damaged_seconds, self._clock = read, damaged_seconds, clock
        self._kept: LRUCache[Name, AdapterFactors] = LRUCache(max_bytes, size_of)
        self._coming: dict[Name, asyncio.Future[AdapterFactors | None]] = {}
        self._reading: set[asyncio.Task[None]] = set()
        self._damaged: dict[Name, float] = {}
        self._gone: frozenset[str] = frozenset()

    @property
    def num_bytes(self) -> int:
        return int(self._kept.currsize)

    async def fetch(self, entries: Sequence[Entry], salt: str = "") -> Fetched:
        """Return the adapters that lie at `entries`; one that cannot be read has a reason and raises nothing."""
        names = {entry.key: (salt, entry.doc_id, str(entry.sha256)) for entry in entries}
        now = self._clock()
        self._damaged = {name: until for name, until in self._damaged.items() if until > now}
        hits = sum(name in self._kept for name in names.values())
        lacking = [entry for entry in entries if self._is_lacking(names[entry.key])]
        held = {key: self._kept[name] for key, name in names.items() if name in self._kept}
        waited = {key: self._coming[name] for key, name in names.items() if name in self._coming}
        if lacking:
            waited |= self._start(lacking, names)
        found = {key: await asyncio.shield(future) for key, future in waited.items()}
        factors = held | {key: adapter for key, adapter in found.items() if adapter is not None}
        in_order = {key: factors[key] for key in names if key in factors}
        return Fetched(in_order, {key: UNREADABLE for key in names if key not in factors}, hits)

    def forget(self, gone: Collection[str]) -> None:
        """Drop every adapter of these documents, and keep none of them from now on, until called with others."""
        self._gone = frozenset(gone)
        for name in [name for name in self._kept if name[1] in self._gone]:
            del self._kept[name]

    def _is_lacking(self, name: Name) -> bool:
        return name not in self._kept and name not in self._coming and name not in self._damaged

    def _start(
        self, entries: Sequence[Entry], names: Mapping[Key, Name]
    ) -> dict[Key, asyncio.Future[AdapterFactors | None]]:
        """Begin to read. A caller that is cancelled meanwhile leaves the others their result."""
        loop = asyncio.get_running_loop()
        futures = {entry.key: loop.create_future() for entry in entries}
        self._coming |= {names[key]: future for key, future in futures.items()}
        reading = loop.create_task(self._read_all(entries, names))
        self._reading.add(reading)  # the loop itself holds tasks weakly
        reading.add_done_callback(self._reading.discard)
        return futures

    async def _read_all(self, entries: Sequence[Entry], names: Mapping[Key, Name]) -> None:
        factors: Mapping[Key, AdapterFactors] = {}
        reasons: Mapping[Key, str] = {}
        try:
            factors, reasons = await asyncio.to_thread(self._read, entries)
        except StorageError as error:
            reasons = {entry.key: str(error) for entry in entries}
        finally:
            for entry in entries:
                self._settle(
                    names[entry.key], factors.get(entry.key), reasons.get(entry.key, "reading it failed")
                )

    def _settle(self, name: Name, factors: AdapterFactors | None, reason: str) -> None:
        if factors is None:
            logger.warning("adapter unreadable", extra={"doc_id": name[1], "reason": reason})
            self._damaged[name] = self._clock() + self._damaged_seconds
        elif name[1] not in self._gone:
            with suppress(ValueError):  # larger than the whole cache
                self._kept[name] = factors
        future = self._coming.pop(name)
        if not future.done():
            future.set_result(factors)


def size_of(factors: AdapterFactors) -> int:
    return sum(pair.a.nbytes + pair.b.nbytes for pair in factors.values())
