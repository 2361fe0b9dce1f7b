"""The floor: nothing but the question reaches the model."""

from __future__ import annotations

from collections.abc import Callable

from prag_core.answering.one_round import encode_question
from prag_core.answering.registry import METHODS, Tools
from prag_core.records import Question


def test_nothing_is_searched_shown_or_merged(make_tools: Callable[..., Tools]) -> None:
    tools = make_tools(("Rome.", "stop", 1.0), ("Bo.", "length", 1.0))
    questions = [Question("a", "Where is 3?", ()), Question("b", "Who is 4?", ())]
    answers = METHODS["closed_book"].answer(questions, tools)
    (requests,) = tools.engine.calls  # type: ignore[attr-defined]
    assert [request.token_ids for request in requests] == [
        encode_question(question.question, (), tools) for question in questions
    ]
    assert not tools.source.queries and not any(request.adapter for request in requests)  # type: ignore[attr-defined]
    assert [(answer.text, answer.finish) for answer in answers] == [("Rome.", "stop"), ("Bo.", "length")]
    assert not any(answer.passages or answer.shown or answer.rounds or answer.degraded for answer in answers)
