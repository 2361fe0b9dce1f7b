"""Check that the documents which questions are labelled with are there to be retrieved."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from prag_core.records import Question

NAMED = 5  # missing documents that a message names


def missing_gold(questions: Sequence[Question], doc_ids: Collection[str]) -> list[str]:
    """List the gold documents that are not among `doc_ids`, in the order of the questions."""
    gold = dict.fromkeys(doc_id for question in questions for doc_id in question.gold_doc_ids)
    return [doc_id for doc_id in gold if doc_id not in doc_ids]


def gold_note(questions: Sequence[Question], doc_ids: Collection[str], bank: str) -> str | None:
    """Note for a user whose questions name gold documents that `bank`, which has `doc_ids`, lacks; None if it has all."""
    missing = missing_gold(questions, doc_ids)
    if not missing:
        return None
    total = len({doc_id for question in questions for doc_id in question.gold_doc_ids})
    affected = sum(not set(missing).isdisjoint(question.gold_doc_ids) for question in questions)
    named = ", ".join(missing[:NAMED]) + (", …" if len(missing) > NAMED else "")
    return (
        f"{bank} does not have {len(missing):,} of the {total:,} gold documents ({affected:,} of {len(questions):,} "
        f"questions): {named}; methods named …_gold answer without them, and recall counts them as not retrieved"
    )
