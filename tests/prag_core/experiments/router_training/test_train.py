"""What a router may be trained for, and when there is nothing to learn. Training itself: tests/jobs/test_train_router.py."""

from __future__ import annotations

import pytest

from prag_core.config.schema import RouterConfig
from prag_core.errors import ConfigError
from prag_core.experiments.router_training.labels import Label
from prag_core.experiments.router_training.train import Case, split, strategies_for
from prag_core.records import Answer, Question


def cases(*strategies: int) -> list[Case]:
    answers = {"closed_book": Answer(""), "rag": Answer("")}
    return [
        Case(Question(str(i), "Who?", ()), Label(place, presumed=False), {}, {}, answers)
        for i, place in enumerate(strategies)
    ]


@pytest.mark.parametrize(
    ("name", "strategies"),
    [
        ("adaptive_rag", ["closed_book", "rag", "ircot"]),
        ("adaptive_rag+prag", ["closed_book", "combine", "ircot+prag"]),
        ("adaptive_prag", ["closed_book", "prag", "rag", "combine"]),
    ],
)
def test_each_method_has_strategies_of_its_own_cheapest_first(name: str, strategies: list[str]) -> None:
    assert list(strategies_for(name, RouterConfig())) == strategies
    assert list(strategies_for(name, RouterConfig(strategies=["prag", "flare"]))) == ["prag", "flare"]


def test_questions_all_for_one_strategy_leave_nothing_to_route() -> None:
    with pytest.raises(ConfigError, match="every one is for rag; there is nothing to route: use rag itself"):
        split(cases(*[1] * 40), RouterConfig())


def test_held_out_cases_are_not_trained_on_and_must_leave_enough() -> None:
    made = cases(*[0, 1] * 20)
    training, held = split(made, RouterConfig(held_out=0.25))
    assert len(training) == 30 and len(held) == 10
    assert {case.question.question_id for case in training}.isdisjoint(
        case.question.question_id for case in held
    )
    with pytest.raises(ConfigError, match=r"router\.held_out=0\.9: of 40 labelled questions it leaves 4"):
        split(made, RouterConfig(held_out=0.9))
    with pytest.raises(ConfigError, match="and 0 to measure on"):
        split(made, RouterConfig(held_out=0.001))
