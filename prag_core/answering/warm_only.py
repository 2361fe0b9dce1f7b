"""The control of warm-up: the adapter that a bank's documents started from, alone; no passages, no document's adapter.

What P-RAG scores above it is what the documents' adapters say; what it scores above closed book is what the warm-up taught.
On a bank that was not warm-started it is closed book.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prag_core.answering.base import Stopwatch, Tools
from prag_core.answering.one_round import OneRound, encode_question
from prag_core.engines.base import Request, Sampling
from prag_core.merging import merge_cat
from prag_core.models.prompts import without_first_blank
from prag_core.records import Answer, Question


@dataclass(frozen=True, kw_only=True)
class WarmOnly(OneRound):
    retrieves: bool = False
    merges: bool = False
    text: bool = False

    def answer(self, questions: Sequence[Question], tools: Tools) -> list[Answer]:
        clock = Stopwatch()
        start = merge_cat([tools.start], tools.layout) if tools.start else None
        requests = [Request(encode_question(question.question, (), tools), start) for question in questions]
        with clock.stage("generate"):
            generations = tools.engine.generate(requests, Sampling(tools.max_new_tokens))
        timings = clock.per(len(questions))
        return [
            Answer(without_first_blank(done.text), timings_ms=timings, num_tokens=len(done.token_ids))
            for done in generations
        ]
