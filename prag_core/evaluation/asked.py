"""Questions divided by whether an augmentation already asked their fact.

A question about one document is "asked" when one of that document's generated pairs has an answer that counts as right for
it. The rest tell whether an adapter carries more of its document than the pairs it was trained on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prag_core.bank import Snapshot
from prag_core.evaluation.metrics import normalise
from prag_core.records import Augmentation, Question


def find_asked(questions: Sequence[Question], augmentations: Iterable[Augmentation]) -> dict[str, bool]:
    """Map question_id to whether its fact was asked, for the questions with exactly one gold document, that document
    augmented; questions over several documents have no such thing as one fact. Reads the augmentations once."""
    single_hop = {question.gold_doc_ids[0] for question in questions if len(question.gold_doc_ids) == 1}
    answers: dict[str, set[str]] = {}
    for augmentation in augmentations:
        if augmentation.doc_id in single_hop:
            pairs = {normalise(pair.answer) for pair in augmentation.qa_pairs}
            answers.setdefault(augmentation.doc_id, set()).update(pairs)
    return {
        question.question_id: any(
            normalise(answer) in answers[question.gold_doc_ids[0]] for answer in question.answers
        )
        for question in questions
        if len(question.gold_doc_ids) == 1 and question.gold_doc_ids[0] in answers
    }


def find_asked_in(snapshot: Snapshot, questions: Sequence[Question]) -> dict[str, bool]:
    """Divide questions by the augmentations that a snapshot has of their documents; read no others."""
    gold = sorted({doc_id for question in questions for doc_id in question.gold_doc_ids})
    keys = snapshot.keys_of(gold)
    return find_asked(questions, snapshot.augmentations(keys).values())
