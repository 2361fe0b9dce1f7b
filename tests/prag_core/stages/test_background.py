"""Work in another thread: nothing lost, nothing reordered, nothing swallowed."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from prag_core.stages.background import BackgroundWriter, prefetch


def test_items_made_ahead_are_the_items() -> None:
    assert list(prefetch(iter(range(1000)), depth=3)) == list(range(1000))
    assert list(prefetch([], depth=1)) == []


def test_no_more_than_depth_items_are_made_prefetch() -> None:
    made: list[int] = []
    third = threading.Event()

    def items() -> Iterator[int]:
        for i in range(100):
            made.append(i)
            if i == 3:
                third.set()
            yield i

    iterator = prefetch(items(), depth=2)
    assert next(iterator) == 0
    assert third.wait(10)  # one taken, two waiting, one in hand
    assert made == [0, 1, 2, 3]
    iterator.close()  # type: ignore[attr-defined]


def test_an_error_while_making_comes_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("broken item")

    iterator = prefetch(items(), depth=4)
    assert next(iterator) == 1
    with pytest.raises(ValueError, match="broken item"):
        next(iterator)


def test_the_thread_ends_with_its_iterator() -> None:
    before = threading.active_count()
    iterator = prefetch(iter(range(100)), depth=1)
    next(iterator)
    iterator.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_everything_put_is_taken_in_order_before_leaving() -> None:
    taken: list[int] = []
    with BackgroundWriter(taken.append, depth=2) as background:
        for i in range(500):
            background.put(i)
    assert taken == list(range(500))


def test_what_taking_raises_comes_out_and_later_items_are_dropped() -> None:
    taken: list[int] = []

    def take(item: int) -> None:
        if item == 3:
            raise OSError("disk full")
        taken.append(item)

    with pytest.raises(OSError, match="disk full"), BackgroundWriter(take, depth=1) as background:
        for i in range(100):
            background.put(i)
    assert taken == [0, 1, 2]


def test_an_error_of_the_caller_is_not_replaced() -> None:
    def take(item: int) -> None:
        raise OSError("disk full")

    with pytest.raises(KeyError, match="mine"), BackgroundWriter(take, depth=1) as background:
        background.put(1)
        raise KeyError("mine")
