"""The methods that retrieve once and answer once: passages as text (`rag`), as adapters (`prag`), or both (`combine`).

Source: Su et al., SIGIR 2025: top-k passages, merged by exact sum, greedy decoding, one prompt template for all. The
`_gold` forms take a question's own documents instead of retrieved ones: upper bounds that say how much retrieval costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prag_core.answering.base import Stopwatch, Tools
from prag_core.answering.one_round import OneRound, answer_once, trace
from prag_core.records import Answer, Passage, Question


@dataclass(frozen=True, kw_only=True)
class RetrieveOnce(OneRound):
    """A method that shows or merges what it retrieves, or the documents that a question is labelled with (`gold`)."""

    gold: bool = False

    def answer(self, questions: Sequence[Question], tools: Tools) -> list[Answer]:
        clock = Stopwatch()
        with clock.stage("retrieve"):
            passages = self._passages(questions, tools)
        answers = answer_once(questions, passages, tools, clock, text=self.text, merges=self.merges)
        return answers if self.gold else trace(answers, questions, passages)

    def _passages(self, questions: Sequence[Question], tools: Tools) -> list[list[Passage]]:
        if self.gold:
            return [tools.source.gold(question)[: tools.top_k] for question in questions]
        return tools.source.search([question.question for question in questions], tools.top_k)


@dataclass(frozen=True, kw_only=True)
class IrrelevantAdapters(OneRound):
    """The control of P-RAG: it merges the adapters of k documents of the retrieved ones' kind that were *not* retrieved.

    What it scores above closed book is what any adapter does (format, register), not what its document says.
    """

    text: bool = False
    merges: bool = True

    def answer(self, questions: Sequence[Question], tools: Tools) -> list[Answer]:
        clock = Stopwatch()
        with clock.stage("retrieve"):
            retrieved = tools.source.search([question.question for question in questions], tools.top_k)
            passages = [
                tools.source.irrelevant(q, found, tools.top_k)
                for q, found in zip(questions, retrieved, strict=True)
            ]
        return trace(
            answer_once(questions, passages, tools, clock, text=False, merges=True), questions, retrieved
        )
