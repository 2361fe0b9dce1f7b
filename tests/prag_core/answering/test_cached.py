"""A question is answered once, in whatever company it comes again."""

from __future__ import annotations

from collections.abc import Callable

from prag_core.answering.cached import CachedMethod
from prag_core.answering.registry import METHODS, Tools
from prag_core.records import Question

A, B, C = (Question(name, f"{name}?", ()) for name in "abc")


def test_only_new_questions_reach_the_method_and_answers_come_in_order(
    make_tools: Callable[..., Tools],
) -> None:
    tools = make_tools(("one", "stop", 1.0), ("two", "stop", 1.0), ("three", "stop", 1.0))
    method = CachedMethod.of(METHODS["closed_book"])
    assert method.name == "closed_book"
    assert [answer.text for answer in method.answer([A, B], tools)] == ["one", "two"]
    assert [answer.text for answer in method.answer([B, C, A], tools)] == ["two", "three", "one"]
    assert [len(call) for call in tools.engine.calls] == [2, 1]  # type: ignore[attr-defined]
