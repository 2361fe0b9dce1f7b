"""The cache of adapters: read once, bounded, apart for each caller, without what was deleted."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from cluster.replica.adapters import AdapterCache, size_of
from prag_core.answering.merge_plan import UNREADABLE
from prag_core.bank import Entry
from prag_core.errors import StorageError
from prag_core.records import AdapterFactors, Factors, Key


def entry(doc_id: str, sha256: str = "a") -> Entry:
    status: Literal["adapter"] = "adapter"
    return Entry(doc_id, 0, "hash", status, None, None, "object", 0, 8, sha256, "fp32", None, None, None)


def factors() -> AdapterFactors:
    return {"layer": Factors(np.ones((2, 4), np.float32), np.ones((4, 2), np.float32))}


class Bank:
    """What the cache reads from. `damaged` documents have no usable adapter; reading waits while `closed`."""

    def __init__(self, *damaged: str) -> None:
        self.damaged, self.reads = damaged, list[list[str]]()
        self.open = threading.Event()
        self.open.set()
        self.down = False

    def read(self, entries: Sequence[Entry]) -> tuple[Mapping[Key, AdapterFactors], Mapping[Key, str]]:
        self.reads.append([entry.doc_id for entry in entries])
        self.open.wait(10)
        if self.down:
            raise StorageError("the server cannot be reached")
        usable = {entry.key: factors() for entry in entries if entry.doc_id not in self.damaged}
        return usable, {
            entry.key: "s3://secret/place is damaged" for entry in entries if entry.key not in usable
        }


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


ONE = size_of(factors())


def test_what_is_lacking_is_read_at_once_and_only_once() -> None:
    async def scenario() -> None:
        bank = Bank()
        cache = AdapterCache(bank.read, 100 * ONE, 60)
        first = await cache.fetch([entry("a"), entry("b")])
        second = await cache.fetch([entry("b"), entry("c"), entry("a")])
        assert bank.reads == [["a", "b"], ["c"]]
        assert (first.hits, second.hits) == (0, 2)
        assert list(second.factors) == [("b", 0), ("c", 0), ("a", 0)]

    asyncio.run(scenario())


def test_concurrent_requests_share_one_read_even_when_the_first_is_cancelled() -> None:
    async def scenario() -> None:
        bank = Bank()
        bank.open.clear()
        cache = AdapterCache(bank.read, 100 * ONE, 60)
        first = asyncio.create_task(cache.fetch([entry("a")]))
        others = [asyncio.create_task(cache.fetch([entry("a")])) for _ in range(5)]
        await asyncio.sleep(0.01)
        first.cancel()
        bank.open.set()
        assert all(list(found.factors) == [("a", 0)] for found in await asyncio.gather(*others))
        assert bank.reads == [["a"]]

    asyncio.run(scenario())


def test_the_bound_holds_and_the_least_recently_used_goes() -> None:
    async def scenario() -> None:
        bank = Bank()
        cache = AdapterCache(bank.read, 2 * ONE, 60)
        for name in ("a", "b", "a", "c"):
            await cache.fetch([entry(name)])
            assert cache.num_bytes <= 2 * ONE
        await cache.fetch([entry("a")])
        await cache.fetch([entry("b")])
        assert bank.reads == [["a"], ["b"], ["c"], ["b"]]

    asyncio.run(scenario())


def test_an_adapter_larger_than_the_bound_is_served_and_not_kept() -> None:
    async def scenario() -> None:
        cache = AdapterCache(Bank().read, ONE - 1, 60)
        assert (await cache.fetch([entry("a")])).factors and cache.num_bytes == 0

    asyncio.run(scenario())


def test_a_damaged_adapter_is_not_read_again_for_a_while_and_fails_no_other() -> None:
    async def scenario() -> None:
        bank, clock = Bank("bad"), Clock()
        cache = AdapterCache(bank.read, 100 * ONE, 60, clock)
        for _ in range(3):
            found = await cache.fetch([entry("bad"), entry("good")])
            assert list(found.factors) == [("good", 0)] and found.reasons == {("bad", 0): UNREADABLE}
        assert bank.reads == [["bad", "good"]]
        clock.now, bank.damaged = 61, ()
        assert list((await cache.fetch([entry("bad")])).factors) == [("bad", 0)]

    asyncio.run(scenario())


def test_storage_that_cannot_be_reached_is_a_reason_and_no_error() -> None:
    async def scenario() -> None:
        bank, clock = Bank(), Clock()
        bank.down = True
        cache = AdapterCache(bank.read, 100 * ONE, 60, clock)
        assert (await cache.fetch([entry("a")])).reasons == {("a", 0): UNREADABLE}

    asyncio.run(scenario())


def test_a_new_wording_of_a_document_is_another_adapter() -> None:
    async def scenario() -> None:
        bank = Bank()
        cache = AdapterCache(bank.read, 100 * ONE, 60)
        await cache.fetch([entry("a", "old")])
        await cache.fetch([entry("a", "new")])
        assert len(bank.reads) == 2

    asyncio.run(scenario())


def test_callers_of_different_salt_share_nothing() -> None:
    async def scenario() -> None:
        bank = Bank()
        cache = AdapterCache(bank.read, 100 * ONE, 60)
        assert [(await cache.fetch([entry("a")], salt)).hits for salt in ("x", "y", "x")] == [0, 0, 1]

    asyncio.run(scenario())


def test_what_is_deleted_leaves_and_stays_out_even_when_it_was_on_its_way() -> None:
    async def scenario() -> None:
        bank = Bank()
        cache = AdapterCache(bank.read, 100 * ONE, 60)
        await cache.fetch([entry("a"), entry("b")])
        bank.open.clear()
        late = asyncio.create_task(cache.fetch([entry("c")]))
        await asyncio.sleep(0.01)
        cache.forget({"a", "c"})
        bank.open.set()
        await late
        assert cache.num_bytes == ONE
        cache.forget(set())
        assert (await cache.fetch([entry("a"), entry("b"), entry("c")])).hits == 1

    asyncio.run(scenario())
