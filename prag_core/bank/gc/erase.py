"""Erase the rows of deleted documents from committed shards: new objects without them, then a commit that names those.

The old objects stay until nothing names them any more; `collect` sweeps them after the grace period. Only one gc may erase
at a time: two would overwrite each other's commits.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

import pyarrow.compute as pc

from prag_core.bank import tables
from prag_core.bank.commits import Commit, find, list_all, to_marker
from prag_core.bank.layout import ObjectInfo, Stage, attempt_of, marker_path, new_attempt, object_path
from prag_core.bank.reader import raw_rows
from prag_core.bank.store import BankStore
from prag_core.bank.writer import AdapterFile, adapter_file
from prag_core.config.schema import Tier
from prag_core.storage import put_whole


def shards_holding(store: BankStore, doc_ids: Collection[str]) -> list[str]:
    """Find the shards with a committed object that has rows of these documents."""
    trained, augmented = list_all(store, Stage.adapters), list_all(store, Stage.augmentations)
    objects: list[tuple[str, ObjectInfo]] = []
    for shard_id, commit in trained.items():
        objects += [(shard_id, info) for kind in ("rows", "failures") for info in commit.all(kind)]
    for shard_id in augmented.keys() - trained.keys():
        objects += [(shard_id, info) for info in augmented[shard_id].objects]
    contents = zip(objects, store.read_tables([info for _, info in objects]), strict=True)
    return sorted(
        {shard_id for (shard_id, _), rows in contents if pc.any(tables.has_doc_id(rows, doc_ids)).as_py()}
    )


def erase(store: BankStore, shard_id: str, doc_ids: Collection[str]) -> None:
    """Replace a shard's commits by ones whose objects have no rows of these documents."""
    eraser = _Eraser(store, shard_id, doc_ids)
    for stage in Stage:
        commit = find(store, stage, shard_id)
        if commit is None:
            continue
        objects = [replacement for info in commit.objects for replacement in eraser.without(info)]
        attempt = eraser.attempts[commit.attempt]
        replacement = Commit(stage, shard_id, attempt, tuple(dict.fromkeys(objects)))
        put_whole(store.fs, store.path(marker_path(stage, shard_id)), to_marker(store, replacement))


class _Eraser:
    """Rewrites the objects of one shard, each once. `attempts`: the attempts that wrote them → those that replace them."""

    def __init__(self, store: BankStore, shard_id: str, doc_ids: Collection[str]) -> None:
        self.store, self.shard_id, self.doc_ids = store, shard_id, doc_ids
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
        kept = table.filter(pc.invert(tables.has_doc_id(table, self.doc_ids)))
        if not kept.num_rows:
            return []
        return [self.store.write_table(object_path(info.kind, self.shard_id, attempt), kept)]

    def _rewrite_adapters(self, info: ObjectInfo, attempt: str) -> list[ObjectInfo]:
        file: AdapterFile | None = None
        try:
            for row in raw_rows(self.store, info.path):
                if row["doc_id"] in self.doc_ids:
                    continue
                if file is None:
                    tier, scored = Tier(row["tier"]), "score" in row
                    file = adapter_file(self.store, self.shard_id, attempt, tier, scored=scored)
                file.add_row(row, row.pop("value"), expected=row.pop("value_sha256"))
            return file.publish(self.store) if file else []
        finally:
            if file:
                file.discard()
