"""Small banks for tests, and records to fill them with: two linear modules, rank 2, made-up documents and factors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from prag_core.bank import Bank, Commit, ObjectInfo, Stage
from prag_core.identity import Recipe, content_hash
from prag_core.models.lora import AdapterLayout, ModuleShape
from prag_core.records import Adapter, AdapterFactors, Augmentation, Document, Factors, Failure, Key, QAPair


@dataclass
class Filled:
    """A bank with one snapshot, and what was put into it."""

    bank: Bank
    documents: list[Document]
    factors: dict[Key, AdapterFactors]

    @property
    def keys(self) -> list[Key]:
        return list(self.factors)


class World:
    """Makes banks and records."""

    layout = AdapterLayout(
        (ModuleShape("layers.0.mlp.gate_proj", 6, 9), ModuleShape("layers.0.mlp.down_proj", 9, 5)), 2, 32.0
    )
    recipe = Recipe({"model": "tiny", "training": {"epochs": 1, "learning_rate": 3e-4}})
    odd_ids = (
        "plain",
        "sl/ash/../x",
        "new\nline",
        "日本語 🙂",
        "nul\0nul",
        "long" + "x" * 10_000,
        "",
        "tab\t\"quote'",
    )

    def bank(self, uri: str) -> Bank:
        return Bank.create(uri, self.recipe, self.layout, self.factors(999))

    def factors(self, seed: int) -> AdapterFactors:
        draw = np.random.default_rng(seed)
        shapes = self.layout.shapes()
        return {
            n: Factors(draw.normal(size=a).astype("f4"), draw.normal(size=b).astype("f4"))
            for n, a, b in shapes
        }

    def documents(self, names: Sequence[str]) -> list[Document]:
        return [
            Document(name, f"text of {name[:40]} <{i}>", f"title {i}", metadata={"n": i})
            for i, name in enumerate(names)
        ]

    def wanted(self, documents: Sequence[Document]) -> pa.Table:
        rows = [{"doc_id": d.doc_id, "chunk": d.chunk, "content_hash": content_hash(d)} for d in documents]
        return pa.Table.from_pylist(rows)

    def adapter(self, document: Document, seed: int) -> Adapter:
        return Adapter(
            document.doc_id,
            document.chunk,
            content_hash(document),
            self.factors(seed),
            steps=5,
            tokens=900,
            loss_first=3.5,
            loss_last=1.25,
        )

    def examined(self, document: Document, seed: int, score: float, *, accepted: bool) -> Adapter:
        return replace(self.adapter(document, seed), score=score, accepted=accepted)

    def failure(self, document: Document, stage: str = "train", attempts: int = 1) -> Failure:
        return Failure(document.doc_id, document.chunk, content_hash(document), stage, "too long", attempts)

    def augmentation(self, document: Document) -> Augmentation:
        pairs = (QAPair("who?", document.title, f"It is {document.title}."),)
        return Augmentation(
            document.doc_id,
            document.chunk,
            content_hash(document),
            (f"again: {document.text}",),
            pairs,
            "tiny",
        )

    def augment(self, bank: Bank, shard: str, documents: Sequence[Document]) -> Commit:
        source = bank.write_documents(shard, documents)
        with bank.begin(Stage.augmentations, shard) as writer:
            for document in documents:
                writer.add(self.augmentation(document))
            return writer.commit([source])

    def train(
        self,
        bank: Bank,
        shard: str,
        documents: Sequence[Document],
        objects: Sequence[ObjectInfo] = (),
        *,
        failed: Sequence[str] = (),
        tier: str = "fp32",
        seed: int = 0,
    ) -> Commit:
        with bank.begin(Stage.adapters, shard, tier) as writer:
            for number, document in enumerate(documents):
                failing = document.doc_id in failed
                writer.add(self.failure(document) if failing else self.adapter(document, seed + number))
            return writer.commit(objects)

    def fill(
        self,
        bank: Bank,
        names: Sequence[str] = ("a", "b", "c", "d"),
        *,
        failed: Sequence[str] = (),
        tier: str = "fp32",
    ) -> Filled:
        """Two shards, one snapshot."""
        documents = self.documents(names)
        half = len(documents) // 2
        for shard, part, seed in (("shard0", documents[:half], 0), ("shard1", documents[half:], half)):
            augmented = self.augment(bank, shard, part)
            self.train(bank, shard, part, augmented.objects, failed=failed, tier=tier, seed=seed)
        bank.write_snapshot(self.wanted(documents))
        return Filled(
            bank,
            documents,
            {d.key: self.factors(i) for i, d in enumerate(documents) if d.doc_id not in failed},
        )


def committed(bank: Bank, stage: Stage, shard: str) -> Commit:
    """The commit of a shard that has one."""
    commit = bank.find_commit(stage, shard)
    assert commit is not None
    return commit


def object_of(commit: Commit, kind: str) -> ObjectInfo:
    """The object of a kind that the commit has."""
    info = commit.object(kind)
    assert info is not None
    return info
