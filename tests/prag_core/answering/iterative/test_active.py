"""The loop of active retrieval, with a judge that a test decides for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from prag_core.answering.iterative.active import Doubt, Draft, answer_actively, observe
from prag_core.answering.iterative.state import QuestionState
from prag_core.answering.registry import Tools
from prag_core.records import Question

Make = Callable[..., Tools]
QUESTION = Question("q", "Which of 3?", ())
TWO = ("It is here. It is 3.", "stop", 1.0)


def once(doubt: Doubt) -> Callable[[QuestionState, Draft, int], Doubt | None]:
    """A judge that doubts the first draft only."""
    left = [doubt]
    return lambda state, draft, first: left.pop() if left else None


def answer(tools: Tools, judge: Any, **more: Any) -> Any:
    return answer_actively([QUESTION], tools, judge, merges=False, **more)[0]


def test_a_trusted_draft_is_the_answer_without_a_retrieval(make_tools: Make) -> None:
    tools = make_tools(TWO)
    given = answer(tools, lambda *_: None)
    assert (given.text, given.rounds, given.finish) == (TWO[0], (), "stop")


def test_sentences_before_the_untrusted_one_are_kept_and_it_is_drafted_again_over_what_is_found(
    make_tools: Make,
) -> None:
    tools = make_tools(TWO, ("It is 5.", "stop", 1.0))
    given = answer(tools, once((1, "where is 5")))
    assert given.text == "It is here. It is 5."
    assert [made.query for made in given.rounds] == ["where is 5"] and given.shown == (("d5", 0),)
    first, second = (tools.engine.prompts(call)[0] for call in (0, 1))  # type: ignore[attr-defined]
    assert "text number 5" not in first and "text number 5" in second
    assert second.rstrip().endswith("It is here.")


def test_what_was_drafted_over_passages_is_judged_from_its_second_sentence_on(make_tools: Make) -> None:
    firsts: list[int] = []

    def judge(state: QuestionState, draft: Draft, first: int) -> Doubt | None:
        firsts.append(first)
        return (0, "where is 5") if len(firsts) == 1 else None

    answer(make_tools(TWO, TWO), judge)
    assert firsts == [0, 1]


@pytest.mark.parametrize("most", [0, 1, 3])
def test_retrievals_end_at_their_bound_whatever_the_judge_thinks(make_tools: Make, most: int) -> None:
    tools = make_tools(*[TWO] * (most + 1), max_rounds=most)
    assert len(answer(tools, lambda *_: (0, "where is 5")).rounds) == most


def test_by_sentence_one_sentence_of_a_draft_is_kept(make_tools: Make) -> None:
    tools = make_tools(TWO, ("It is 3.", "stop", 1.0))
    assert answer(tools, lambda *_: None, by_sentence=True).text == TWO[0]
    assert len(tools.engine.calls) == 2  # type: ignore[attr-defined]


def test_an_answer_is_never_longer_than_it_may_be(make_tools: Make) -> None:
    tools = make_tools(("one two three four five six", "length", 1.0), max_new_tokens=4)
    given = answer(tools, lambda *_: None)
    assert given.finish == "length" and given.num_tokens == 4


def test_observing_never_retrieves_and_keeps_the_order_of_the_questions(make_tools: Make) -> None:
    other = Question("other", "Which of 4?", ())
    tools = make_tools(("It is 3.", "stop", 0.5), ("It is 4.", "stop", 0.25))
    weighed = observe([QUESTION, other], tools, lambda state, draft: [draft.probabilities[0]])
    assert weighed == [[0.5], [0.25]] and not tools.source.queries  # type: ignore[attr-defined]
