"""Closed book: the model alone, no passages and no adapters. The floor that every method must clear."""

from __future__ import annotations

from collections.abc import Sequence

from prag_core.answering.base import Stopwatch, Tools, answer_once
from prag_core.records import Answer, Question


class ClosedBook:
    name = "closed_book"
    text = adapters = gold = False

    def answer(self, questions: Sequence[Question], tools: Tools) -> list[Answer]:
        return answer_once(questions, [[] for _ in questions], tools, Stopwatch(), text=False, adapters=False)
