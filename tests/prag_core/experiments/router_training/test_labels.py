"""The cheapest strategy that was right; where none was, what the question's kind asks for."""

from __future__ import annotations

import pytest

from prag_core.experiments.router_training.labels import Label, label_of
from prag_core.records import Question

ITERATIVE = [False, False, True]  # as closed_book, rag, ircot
SINGLE = ("single",)


def question(kind: str = "", *gold: str) -> Question:
    return Question("q", "Who?", ("Bo",), gold, kind)


@pytest.mark.parametrize(
    ("right", "place"),
    [([True, True, True], 0), ([False, True, True], 1), ([False, False, True], 2), ([True, False, True], 0)],
)
def test_the_cheapest_that_was_right_wins(right: list[bool], place: int) -> None:
    assert label_of(question("bridge"), right, ITERATIVE, SINGLE) == Label(place, presumed=False)


@pytest.mark.parametrize(
    ("asked", "place"),
    [
        (question("single"), 1),
        (question("bridge"), 2),
        (question("comparison"), 2),
        (question("single", "d1", "d2"), 1),  # the type is believed
        (question("", "d1"), 1),
        (question("", "d1", "d1"), 1),
        (question("", "d1", "d2"), 2),
    ],
)
def test_where_none_was_right_one_hop_takes_one_retrieval_and_several_hops_the_dearest(
    asked: Question, place: int
) -> None:
    assert label_of(asked, [False] * 3, ITERATIVE, SINGLE) == Label(place, presumed=True)


def test_without_an_iterative_strategy_both_take_the_dearest() -> None:
    for kind in ("single", "bridge"):
        assert label_of(question(kind), [False] * 4, [False] * 4, SINGLE) == Label(3, presumed=True)


def test_a_question_of_which_nothing_is_known_has_no_label() -> None:
    assert label_of(question(), [False] * 3, ITERATIVE, SINGLE) is None
    assert label_of(question(), [False, True, False], ITERATIVE, SINGLE) == Label(1, presumed=False)
