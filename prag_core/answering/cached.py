"""A method that answers each question once, however often it is asked: for choices that are tried on the same answers."""

from __future__ import annotations

from collections.abc import Sequence

from prag_core.answering.base import Method, Tools
from prag_core.records import Answer, Question


class Remembered:
    """Keeps the answers of `method` by question id. Right only as long as nothing changes that the method heeds."""

    def __init__(self, method: Method) -> None:
        self.name = method.name
        self._method = method
        self._answers: dict[str, Answer] = {}

    def answer(self, questions: Sequence[Question], tools: Tools) -> list[Answer]:
        new = [question for question in questions if question.question_id not in self._answers]
        if new:
            given = self._method.answer(new, tools)
            self._answers.update(zip((question.question_id for question in new), given, strict=True))
        return [self._answers[question.question_id] for question in questions]
