"""What every method has without saying so, and how time is shared among the questions of a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from prag_core.answering.base import Kind, Method, Stopwatch, Tools
from prag_core.config.load import load_config
from prag_core.records import Answer, Question


@dataclass(frozen=True, kw_only=True)
class Echo(Method):
    kind: Kind = "one_round"

    def answer(self, questions: Sequence[Question], tools: Tools) -> list[Answer]:
        return [Answer(question.question) for question in questions]


@pytest.mark.parametrize("merges", [True, False])
def test_a_method_merges_what_one_retrieval_finds_or_nothing(merges: bool) -> None:
    method = Echo(name="echo", merges=merges)
    assert method.most_documents(load_config(["retrieval.top_k=5"])) == (5 if merges else 0)


def test_a_method_without_thresholds_has_none_to_observe(make_tools: Callable[..., Tools]) -> None:
    method = Echo(name="echo", merges=False)
    assert method.thresholds == () and method.cached() is method
    with pytest.raises(NotImplementedError, match="echo has no threshold flare_threshold"):
        method.observe("flare_threshold", [], make_tools())


def test_a_method_must_say_whether_it_merges() -> None:
    with pytest.raises(TypeError, match="merges"):
        Echo(name="echo")  # type: ignore[call-arg]


def test_a_stage_is_timed_each_time_also_when_it_fails_and_shared_evenly() -> None:
    clock = Stopwatch()
    with clock.stage("merge"):
        pass
    once = clock.milliseconds["merge"]
    with pytest.raises(ValueError), clock.stage("merge"):
        raise ValueError
    assert clock.milliseconds["merge"] > once > 0
    assert clock.per(4) == {"merge": clock.milliseconds["merge"] / 4} and Stopwatch().per(0) == {}
