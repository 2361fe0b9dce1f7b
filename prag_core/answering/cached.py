"""A method that answers each question once, however often it is asked: for choices that are tried on the same answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

from prag_core.answering.base import Method, Tools
from prag_core.config.schema import Config
from prag_core.records import Answer, Question


@dataclass(frozen=True, kw_only=True)
class CachedMethod(Method):
    """Keeps the answers of `method` by question id. Right only while nothing changes that the method depends on."""

    method: Method
    answers: dict[str, Answer] = field(default_factory=dict)

    @classmethod
    def of(cls, method: Method) -> CachedMethod:
        return cls(method=method, **{fact.name: getattr(method, fact.name) for fact in fields(Method)})

    def most_documents(self, config: Config) -> int:
        return self.method.most_documents(config)

    def answer(self, questions: Sequence[Question], tools: Tools) -> list[Answer]:
        new = [question for question in questions if question.question_id not in self.answers]
        if new:
            given = self.method.answer(new, tools)
            self.answers.update(zip((question.question_id for question in new), given, strict=True))
        return [self.answers[question.question_id] for question in questions]
