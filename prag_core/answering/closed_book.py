"""Closed book: the model alone, no passages and no adapters. The floor that every method must clear."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prag_core.answering.base import Stopwatch, Tools
from prag_core.answering.one_round import OneRound, answer_once
from prag_core.records import Answer, Question


@dataclass(frozen=True, kw_only=True)
class ClosedBook(OneRound):
    retrieves: bool = False
    merges: bool = False
    text: bool = False

    def answer(self, questions: Sequence[Question], tools: Tools) -> list[Answer]:
        return answer_once(questions, [[] for _ in questions], tools, Stopwatch(), text=False, merges=False)
