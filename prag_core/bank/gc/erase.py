"""Erasing rows from committed shards: new objects without them, then a marker that names those instead.

The old objects stay until nothing names them any more; `gc` sweeps them after its grace period. Only one gc may erase at a
time: two would overwrite each other's markers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from prag_core.bank import tables
from prag_core.bank.commits import Commit, to_marker
from prag_core.bank.layout import ObjectInfo, Stage, marker_path, new_attempt, object_path
from prag_core.bank.reader import raw_rows
from prag_core.bank.writer import AdapterFile, adapter_file, write_table
from prag_core.config.choices import Tier
from prag_core.storage import put_whole

if TYPE_CHECKING:
    from prag_core.bank.bank import Bank


def shards_holding(bank: Bank, doc_ids: Collection[str]) -> list[str]:
    """Shards with a committed object that has rows of these documents."""
    trained, augmented = bank.list_commits(Stage.adapters), bank.list_commits(Stage.augmentations)
    looked_at: list[tuple[str, ObjectInfo]] = []
    for shard, commit in trained.items():
        looked_at += [(shard, info) for kind in ("rows", "failures") for info in commit.all(kind)]
    for shard in augmented.keys() - trained.keys():
        looked_at += [(shard, info) for info in augmented[shard].objects]
    found = zip(looked_at, bank.read_tables([info for _, info in looked_at]), strict=True)
    return sorted({shard for (shard, _), rows in found if pc.any(tables.has_doc_id(rows, doc_ids)).as_py()})


def erase(bank: Bank, shard_id: str, doc_ids: Collection[str]) -> None:
    """Replace a shard's commits by ones whose objects have no rows of these documents."""
    attempts: defaultdict[str, str] = defaultdict(new_attempt)
    rewritten: dict[str, list[ObjectInfo]] = {}
    for stage in Stage:
        commit = bank.find_commit(stage, shard_id)
        if commit is None:
            continue
        objects: list[ObjectInfo] = []
        for info in commit.objects:
            if info.path not in rewritten:
                rewritten[info.path] = _without(bank, shard_id, info, attempts, doc_ids)
            objects += rewritten[info.path]
        replacement = Commit(stage, shard_id, attempts[commit.attempt], tuple(dict.fromkeys(objects)))
        put_whole(bank.fs, bank.path(marker_path(stage, shard_id)), to_marker(bank, replacement))


def _without(
    bank: Bank, shard_id: str, info: ObjectInfo, attempts: defaultdict[str, str], doc_ids: Collection[str]
) -> list[ObjectInfo]:
    """The objects that replace one: none where nothing is left of it. An adapters object brings its rows along."""
    attempt = attempts[info.path.removesuffix(".parquet").rsplit("-", 1)[-1]]
    if info.kind == "rows":
        return []
    if info.kind == "adapters":
        return _adapters_without(bank, shard_id, info, attempt, doc_ids)
    table = bank.read_tables([info])[0]
    kept = table.filter(pc.invert(tables.has_doc_id(table, doc_ids)))
    return [write_table(bank, object_path(info.kind, shard_id, attempt), kept)] if kept.num_rows else []


def _adapters_without(
    bank: Bank, shard_id: str, info: ObjectInfo, attempt: str, doc_ids: Collection[str]
) -> list[ObjectInfo]:
    file: AdapterFile | None = None
    try:
        for row in raw_rows(bank, info.path):
            if row["doc_id"] in doc_ids:
                continue
            file = file or adapter_file(bank, shard_id, attempt, Tier(row["tier"]), scored="score" in row)
            file.add_row(row, row.pop("value"), expected=row.pop("value_sha256"))
        return file.publish(bank) if file else []
    finally:
        if file:
            file.discard()
