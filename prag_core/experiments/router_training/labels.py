"""Labels of a router's training questions: for each the cheapest strategy that answered it right.

Source: Jeong et al., NAACL 2024. Where no strategy was right the question's own kind decides (their inductive bias of the
datasets): a question of one hop is for the dearest strategy that retrieves once, one of several hops for the dearest of all.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from prag_core.records import Question


@dataclass(frozen=True)
class Label:
    """A strategy, by its place; `presumed` if none was right."""

    strategy: int
    presumed: bool


def label_of(
    question: Question, right: Sequence[bool], iterative: Sequence[bool], single_hop_types: Collection[str]
) -> Label | None:
    """Label a question, given for each strategy, cheapest first, whether it was right and whether it retrieves more than
    once. None where none was right and nothing tells how many hops the question takes."""
    if any(right):
        return Label(right.index(True), presumed=False)
    one_hop = is_single_hop(question, single_hop_types)
    if one_hop is None:
        return None
    fit = [place for place, several in enumerate(iterative) if not (one_hop and several)]
    return Label(fit[-1] if fit else len(right) - 1, presumed=True)


def is_single_hop(question: Question, single_hop_types: Collection[str]) -> bool | None:
    """Decide by the question's type, without one by how many documents answer it; None if neither is known."""
    if question.type:
        return question.type in single_hop_types
    return len(set(question.gold_doc_ids)) == 1 if question.gold_doc_ids else None
