"""DA-RAG: the passages, their rewrites and their question-answer pairs, all in the prompt.

Source: docs/methods.md; the SIGIR 2025 paper's control for augmentation. P-RAG trains its adapters on
what a model wrote about a document; this shows the same to the model as text, so that what the writing itself brings
can be told from what training on it brings. What was written is the bank's own, of the snapshot that is answered from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from prag_core.answering.base import Stopwatch, Tools
from prag_core.answering.one_round import OneRound, answer_once, trace
from prag_core.records import Answer, Augmentation, Passage, Question


@dataclass(frozen=True, kw_only=True)
class DaRag(OneRound):
    """A method that shows augmented passages in the bank's own prompt; a prompt beyond the model's context is refused by the
    engine, as it is for the passages alone."""

    text: bool = True
    augmented: bool = True

    def answer(self, questions: Sequence[Question], tools: Tools) -> list[Answer]:
        clock = Stopwatch()
        with clock.stage("retrieve"):
            found = tools.source.search([question.question for question in questions], tools.top_k)
            written = tools.source.augmentations({passage.key for passages in found for passage in passages})
        shown = [[augmented(passage, written.get(passage.key)) for passage in passages] for passages in found]
        answers = answer_once(questions, shown, tools, clock, text=True, merges=self.merges)
        as_found = [
            replace(answer, passages=tuple(passages)) for answer, passages in zip(answers, found, strict=True)
        ]
        return trace(as_found, questions, found)


def augmented(passage: Passage, written: Augmentation | None) -> Passage:
    """The passage, then its rewrites, then its pairs as `Question: …` and `Answer: …` lines; alone where nothing was written."""
    if written is None:
        return passage
    pairs = [
        line for pair in written.qa_pairs for line in (f"Question: {pair.question}", f"Answer: {pair.answer}")
    ]
    return replace(passage, text="\n".join([passage.text, *written.rewrites, *pairs]))
