"""Erase rows from committed shards: new objects without them, then a commit of the next generation that names those.

The old objects stay until nothing refers to them any more; `collect` sweeps them after the grace period. Two that erase at once
write two commits of one generation: both are whole, and one of them wins.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

import pyarrow as pa
import pyarrow.compute as pc

from prag_core.bank import tables
from prag_core.bank.commits import Commit, claim, find, list_all
from prag_core.bank.layout import ObjectInfo, Stage, attempt_of, new_attempt, object_path
from prag_core.bank.reader import raw_rows
from prag_core.bank.store import BankStore
from prag_core.bank.writer import AdapterFile, adapter_file
from prag_core.config.schema import Tier


def shards_holding(store: BankStore, doc_ids: Collection[str], wordings: pa.Table) -> list[str]:
    """Find the shards with a committed object that has rows of these documents, or of these wordings of others."""
    if not doc_ids and not wordings.num_rows:
        return []
    trained, augmented = list_all(store, Stage.adapters), list_all(store, Stage.augmentations)
    objects = {(shard_id, info) for shard_id, commit in trained.items() for info in commit.all("rows")}
    for shard_id, commit in (*augmented.items(), *trained.items()):
        objects |= {(shard_id, info) for info in (*commit.all("documents"), *commit.all("failures"))}
    for shard_id in augmented.keys() - trained.keys():
        objects |= {(shard_id, info) for info in augmented[shard_id].objects}
    shards = set()
    for shard_id, info in sorted(objects, key=lambda item: item[1].path):
        if shard_id not in shards and pc.any(_erased(store.read_table(info), doc_ids, wordings)).as_py():
            shards.add(shard_id)
    return sorted(shards)


def _erased(rows: pa.Table, doc_ids: Collection[str], wordings: pa.Table) -> pa.ChunkedArray:
    """Whether each row is to be erased."""
    return pc.or_(tables.has_doc_id(rows, doc_ids), tables.is_among(rows, wordings))


def erase(store: BankStore, shard_id: str, doc_ids: Collection[str], wordings: pa.Table) -> None:
    """Commit a shard anew, as its next generation, from objects without rows of these documents and wordings."""
    eraser = _Eraser(store, shard_id, doc_ids, wordings)
    for stage in Stage:
        commit = find(store, stage, shard_id)
        if commit is None:
            continue
        objects = [replacement for info in commit.objects for replacement in eraser.without(info)]
        attempt = eraser.attempts[commit.attempt]
        claim(store, Commit(stage, shard_id, attempt, tuple(dict.fromkeys(objects)), commit.generation + 1))


class _Eraser:
    """Rewrites the objects of one shard, each once. `attempts`: the attempts that wrote them → those that replace them."""

    def __init__(self, store: BankStore, shard_id: str, doc_ids: Collection[str], wordings: pa.Table) -> None:
        self.store, self.shard_id, self.doc_ids = store, shard_id, doc_ids
        self.wordings = wordings
        self._wordings = set(
            zip(*(wordings[name].to_pylist() for name in wordings.column_names), strict=True)
        )
        self.attempts: defaultdict[str, str] = defaultdict(new_attempt)
        self._rewritten: dict[str, list[ObjectInfo]] = {}

    def without(self, info: ObjectInfo) -> list[ObjectInfo]:
        """The objects that replace one: none if nothing is left of it. An adapters object brings its rows object along."""
        if info.path not in self._rewritten:
            self._rewritten[info.path] = self._rewrite(info)
        return self._rewritten[info.path]

    def _rewrite(self, info: ObjectInfo) -> list[ObjectInfo]:
        attempt = self.attempts[attempt_of(info.path)]
        if info.kind == "rows":
            return []
        if info.kind == "adapters":
            return self._rewrite_adapters(info, attempt)
        table = self.store.read_table(info)
        kept = table.filter(pc.invert(_erased(table, self.doc_ids, self.wordings)))
        if not kept.num_rows:
            return []
        return [self.store.write_table(object_path(info.kind, self.shard_id, attempt), kept)]

    def _rewrite_adapters(self, info: ObjectInfo, attempt: str) -> list[ObjectInfo]:
        file: AdapterFile | None = None
        try:
            for row in raw_rows(self.store, info.path):
                wording = (row["doc_id"], row["chunk"], row["content_hash"])
                if row["doc_id"] in self.doc_ids or wording in self._wordings:
                    continue
                if file is None:
                    tier, scored = Tier(row["tier"]), "score" in row
                    file = adapter_file(self.store, self.shard_id, attempt, tier, scored=scored)
                file.add_row(row, row.pop("value"), expected=row.pop("value_sha256"))
            return file.publish(self.store) if file else []
        finally:
            if file:
                file.discard()
