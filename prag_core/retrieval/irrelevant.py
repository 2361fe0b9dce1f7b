"""The choice of documents for the control `prag_irrelevant`: of the same kind as the retrieved ones, but without the answer.

What their adapters score above closed book is the effect of any adapter, not of what its document says.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from prag_core.identity import digest
from prag_core.records import Document, Key, Passage, Question

KIND = "kind"  # the metadata field that says what sort of thing a document is about


@dataclass(frozen=True)
class Kinds:
    """The documents of each kind, in key order; documents without the field are of the kind ""."""

    keys: Mapping[str, Sequence[Key]]
    kind_of: Mapping[Key, str]


def group_by_kind(documents: Iterable[Document]) -> Kinds:
    """Group the keys of documents, which are read once, by kind."""
    kind_of = {document.key: str(document.metadata.get(KIND, "")) for document in documents}
    keys: dict[str, list[Key]] = {}
    for key in sorted(kind_of):
        keys.setdefault(kind_of[key], []).append(key)
    return Kinds(keys, kind_of)


def choose_irrelevant(
    question: Question, retrieved: Sequence[Passage], kinds: Kinds, k: int, seed: int
) -> list[Key]:
    """Choose k documents of the retrieved ones' kinds, in rank order, none of them (nor a chunk of them) retrieved or gold.

    If a kind has no more documents, any other is taken; fewer than k are chosen only if no more are left. For the same documents
    the choice depends on the question's id and the seed alone.
    """
    excluded = {passage.doc_id for passage in retrieved} | set(question.gold_doc_ids)
    generator = random.Random(int(digest([question.question_id, seed]), 16))
    wanted = [kinds.kind_of[passage.key] for passage in retrieved[:k] if passage.key in kinds.kind_of]
    chosen: list[Key] = []
    for kind in wanted:
        chosen += _draw(generator, kinds.keys[kind], excluded, chosen, 1)
    everything = sorted(kinds.kind_of)
    return chosen + _draw(generator, everything, excluded, chosen, k - len(chosen))


def _draw(
    generator: random.Random, keys: Sequence[Key], excluded: set[str], chosen: Sequence[Key], count: int
) -> list[Key]:
    """Draw `count` keys of distinct documents, uniformly, by rejection: quick in a large corpus, exact in a small one."""
    taken = excluded | {doc_id for doc_id, _ in chosen}
    drawn: list[Key] = []
    for _ in range(20 * count):
        if len(drawn) == count:
            return drawn
        key = generator.choice(keys) if keys else None
        if key and key[0] not in taken:
            drawn.append(key)
            taken.add(key[0])
    left = [key for key in keys if key[0] not in taken]
    generator.shuffle(left)
    for key in left:
        if len(drawn) < count and key[0] not in taken:
            drawn.append(key)
            taken.add(key[0])
    return drawn
