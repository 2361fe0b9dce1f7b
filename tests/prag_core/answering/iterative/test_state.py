"""A question's way through several rounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from prag_core.answering.base import Stopwatch
from prag_core.answering.iterative.state import QuestionState, retrieve
from prag_core.answering.registry import METHODS, Tools
from prag_core.records import Passage, Question, Round

Make = Callable[..., Tools]
A, B, C = (
    Passage(name, 0, name, f"text {name}", score) for name, score in (("a", 3.0), ("b", 2.0), ("c", 1.0))
)


def test_documents_are_collected_once_in_the_order_they_came() -> None:
    state = QuestionState(Question("q", "?", ()), rounds=[Round("one", (A, B)), Round("two", (C, A))])
    assert state.collected(9) == [A, B, C]
    assert state.collected(2) == [A, B]


def test_what_is_merged_is_the_first_documents_of_all_retrievals(make_tools: Make) -> None:
    tools, state = make_tools(max_documents=3), QuestionState(Question("q", "Which of 5 and 4?", ()))
    for query in ("5 and 4", "0 and 4", "2 and 3"):
        retrieve([state], [query], tools, Stopwatch(), merges=True)
    assert [doc_id for doc_id, _ in state.merge.plan.keys] == ["d4", "d5", "d0"]
    assert [passage.doc_id for passage in state.passages] == ["d2", "d3"]


@pytest.mark.parametrize("name", ["rag", "ircot", "flare"])
def test_what_was_said_earlier_is_in_every_prompt(make_tools: Make, name: str) -> None:
    script = [("The answer is 3.", "stop", 1.0)] * 2
    tools = replace(make_tools(*script), earlier=({"role": "user", "content": "Be brief."},))
    METHODS[name].answer([Question("q", "Is it 3?", ())], tools)
    calls = range(len(tools.engine.calls))  # type: ignore[attr-defined]
    assert calls and all("Be brief." in tools.engine.prompts(call)[0] for call in calls)  # type: ignore[attr-defined]


@pytest.mark.parametrize("query", ["  ", ".", "“?”"])
def test_a_query_without_words_asks_the_question(make_tools: Make, query: str) -> None:
    tools, state = make_tools(), QuestionState(Question("q", "Which of 5 and 4?", ()))
    retrieve([state], [query], tools, Stopwatch(), merges=False)
    assert state.rounds[0].query == "Which of 5 and 4?" and state.merge.plan.keys == ()
