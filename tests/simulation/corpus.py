"""The corpus of a history: a few documents, some of them in a second wording, and an adapter of two numbers for each."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import numpy as np
import pyarrow as pa

from prag_core.identity import Recipe, content_hash
from prag_core.models.lora import AdapterLayout, ModuleShape
from prag_core.records import Adapter, AdapterFactors, Augmentation, Document, Factors, QAPair

LAYOUT = AdapterLayout((ModuleShape("module", 1, 1),), rank=1, alpha=1.0)
RECIPE = Recipe({"model": "tiny"})
PAIRS = (QAPair("Who?", "Nobody", "Nobody."),)
OLD = tuple(f"d{number}" for number in range(6))  # in the bank when a history begins
NEW = tuple(f"d{number}" for number in range(6, 10))
SHARDS = {"s0": OLD[:2], "s1": OLD[2:4], "s2": OLD[4:], "s3": NEW[:2], "s4": NEW[2:]}

Corpus = dict[str, int]  # doc_id → its wording
Seen = dict[str, str]  # doc_id → the content hash that a snapshot has of it


@cache
def document(doc_id: str, wording: int = 0) -> Document:
    return Document(doc_id, f"wording {wording} of {doc_id}", f"title of {doc_id}")


@cache
def hash_of(doc_id: str, wording: int = 0) -> str:
    return content_hash(document(doc_id, wording))


def factors(number: float, attempt: float = 0.0) -> AdapterFactors:
    return {"module": Factors(np.full((1, 1), number, "f4"), np.full((1, 1), attempt, "f4"))}


def number_of(doc_id: str, wording: int = 0) -> int:
    """The number that tells whose adapter it is."""
    return 10 * int(doc_id[1:]) + wording + 1


def adapter(doc_id: str, wording: int, attempt: float) -> Adapter:
    return Adapter(
        *document(doc_id, wording).key,
        hash_of(doc_id, wording),
        factors(number_of(doc_id, wording), attempt),
        steps=1,
        tokens=1,
        loss_first=2.0,
        loss_last=1.0,
    )


def augmentation(doc_id: str, wording: int) -> Augmentation:
    again = (f"again: wording {wording} of {doc_id}",)
    return Augmentation(*document(doc_id, wording).key, hash_of(doc_id, wording), again, PAIRS, "nobody")


def wanted(corpus: Corpus) -> pa.Table:
    rows = [
        {"doc_id": doc_id, "chunk": 0, "content_hash": hash_of(doc_id, wording)}
        for doc_id, wording in corpus.items()
    ]
    return pa.Table.from_pylist(rows)


def whole(doc_ids: Iterable[str] = OLD + NEW) -> Corpus:
    return dict.fromkeys(doc_ids, 0)


WORDINGS = {hash_of(doc_id, wording): (doc_id, wording) for doc_id in OLD + NEW for wording in (0, 1)}
