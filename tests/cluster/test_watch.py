"""Knowing the newest snapshot."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from cluster import watch
from cluster.watch import SnapshotWatch


class Bank:
    """Snapshots by number; counts how often they are listed."""

    uri = "bank"

    def __init__(self) -> None:
        self.numbers, self.looks, self.broken = [1], 0, False

    def newest_name(self, _: Any) -> str:
        self.looks += 1
        if self.broken:
            raise OSError("no route to the store")
        return f"{max(self.numbers):08}-a"


@pytest.fixture
def bank(monkeypatch: pytest.MonkeyPatch) -> Bank:
    bank = Bank()
    monkeypatch.setattr(watch, "newest_name", bank.newest_name)
    monkeypatch.setattr(
        watch, "load", lambda _, name: SimpleNamespace(name=name, number=int(name.split("-")[0]))
    )
    return bank


def run(bank: Bank, scenario: Callable[[SnapshotWatch, list[int]], Awaitable[None]]) -> None:
    seen: list[int] = []

    async def changed(snapshot: Any) -> None:
        seen.append(snapshot.number)

    first: Any = SimpleNamespace(name="00000001-a", number=1)
    given: Any = bank
    asyncio.run(scenario(SnapshotWatch(given, first, changed), seen))  # type: ignore[arg-type]


def test_a_newer_snapshot_is_told_once_before_it_is_known(bank: Bank) -> None:
    async def scenario(watching: SnapshotWatch, seen: list[int]) -> None:
        await watching.look()
        assert (seen, watching.newest.number) == ([], 1)
        bank.numbers.append(2)
        await asyncio.gather(*[watching.look() for _ in range(5)])
        assert (seen, watching.newest.number) == ([2], 2)

    run(bank, scenario)


def test_what_is_known_is_not_looked_for(bank: Bank) -> None:
    async def scenario(watching: SnapshotWatch, seen: list[int]) -> None:
        await watching.look(at_least=1)
        assert bank.looks == 0
        bank.numbers.append(2)
        await asyncio.gather(*[watching.look(at_least=2) for _ in range(5)])
        assert bank.looks == 1 and seen == [2]

    run(bank, scenario)


def test_a_look_that_fails_leaves_what_is_known_and_is_made_again(bank: Bank) -> None:
    async def scenario(watching: SnapshotWatch, seen: list[int]) -> None:
        bank.broken, looked = True, asyncio.Event()

        async def after_a_look() -> None:
            looked.set()

        looking = asyncio.create_task(watching.keep_looking(0.001, also=after_a_look))
        while bank.looks < 3:
            await asyncio.sleep(0.001)
        assert seen == [] and not looked.is_set()
        bank.numbers.append(2)
        bank.broken = False
        await looked.wait()
        looking.cancel()
        assert seen == [2]

    run(bank, scenario)
