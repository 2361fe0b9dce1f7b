"""Writing a snapshot: what is wanted, joined with what is committed, less what was deleted; then one write-once folder.

Runs may race, and a deletion must survive that: whoever finds, after writing, that another snapshot bears the same number
or was built beside theirs, builds once more on top of it with the deletions of both.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Collection
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from prag_core.bank import tables
from prag_core.bank.commits import Committed, committed_rows
from prag_core.bank.layout import seal
from prag_core.bank.snapshot import Snapshot, index_path, list_names, load, manifest_path, name_of
from prag_core.errors import BankError
from prag_core.storage import put_whole

if TYPE_CHECKING:
    from prag_core.bank.bank import Bank

Tombstones = dict[
    str, dict[str, Any]
]  # deleted doc_id → {"at": ISO time, "rows": [[chunk, content_hash], …]}
Wanted = Callable[["Snapshot | None", Tombstones], pa.Table]
OBJECT_COLUMNS = ("documents_object", "augmentations_object", "adapter_object")
ROUNDS = 50


def publish(
    bank: Bank,
    wanted: Wanted,
    *,
    deleted: Collection[str] = (),
    restored: Collection[str] = (),
) -> Snapshot:
    """Write the snapshot of `wanted(parent, tombstones)` after the newest one, with its tombstones, plus those of `deleted`,
    less those of `restored`. Returns the newest snapshot instead where it says the same already."""
    committed = committed_rows(bank)
    for attempt in range(ROUNDS):
        newest = _newest(bank)
        parent = newest[0] if newest else None
        tombstones = {
            doc_id: stone for snapshot in reversed(newest) for doc_id, stone in snapshot.deleted.items()
        }
        rows = wanted(parent, tombstones).select(tables.WANTED.names).cast(tables.WANTED)
        for doc_id in restored:
            tombstones.pop(doc_id, None)
        snapshot = _write(bank, parent, committed, rows, _bury(tombstones, deleted, rows))
        if snapshot is parent or _stands(snapshot, _newest(bank)):
            return snapshot
        time.sleep(random.random() * 0.05 * attempt)
    raise BankError(
        f"{bank.uri}: {ROUNDS} snapshots in a row were overtaken by other runs; try again when they are done"
    )


def _newest(bank: Bank) -> list[Snapshot]:
    """The snapshots with the highest number: one, unless runs raced. The one that counts first."""
    names = list_names(bank)
    return [load(bank, name) for name in names if name.split("-")[0] == names[0].split("-")[0]]


def _stands(snapshot: Snapshot, newest: list[Snapshot]) -> bool:
    """Whether what was just written counts, or was built upon, and no deletion made beside it is missing from it."""
    if newest[0].number > snapshot.number:
        return bool(newest[0].manifest["parent"] == snapshot.name)
    return newest[0].name == snapshot.name and all(
        other.deleted.keys() <= snapshot.deleted.keys() for other in newest
    )


def _bury(tombstones: Tombstones, deleted: Collection[str], wanted: pa.Table) -> Tombstones:
    """The tombstones with those of `deleted`, each with the wording that is wanted of it now (to restore it by)."""
    buried = {doc_id: {"at": now(), "rows": []} for doc_id in deleted} | tombstones
    gone = wanted.filter(tables.has_doc_id(wanted, buried))
    fresh: Tombstones = {}
    for row in gone.to_pylist():
        stone = fresh.setdefault(row["doc_id"], {"at": buried[row["doc_id"]]["at"], "rows": []})
        stone["rows"].append([row["chunk"], row["content_hash"]])
    return dict(sorted((buried | fresh).items()))


def _write(
    bank: Bank, parent: Snapshot | None, committed: Committed, wanted: pa.Table, tombstones: Tombstones
) -> Snapshot:
    index = select_rows(committed.rows, wanted.filter(pc.invert(tables.has_doc_id(wanted, tombstones))))
    data = tables.to_parquet(index)
    sha256 = hashlib.sha256(data).hexdigest()
    if parent and parent.manifest["index"]["sha256"] == sha256 and parent.deleted.keys() == tombstones.keys():
        return parent
    paths = {
        path
        for column in OBJECT_COLUMNS
        for path in index[column].cast(pa.string()).unique().to_pylist()
        if path
    }
    statuses = index["status"].cast(pa.string())
    counts = {status: pc.sum(pc.equal(statuses, status)).as_py() or 0 for status in tables.STATUSES}
    manifest = {
        "number": parent.number + 1 if parent else 1,
        "parent": parent.name if parent else None,
        "recipe_id": bank.recipe.id,
        "index": {"path": "index.parquet", "rows": index.num_rows, "bytes": len(data), "sha256": sha256},
        "objects": [asdict(committed.objects[path]) for path in sorted(paths)],
        "counts": counts | {"deleted": len(tombstones)},
        "deleted": tombstones,
    }
    return _place(bank, manifest, data)


def select_rows(committed: pa.Table, wanted: pa.Table) -> pa.Table:
    """The committed rows that are wanted, one a document, sorted by (doc_id, chunk). Of several, adapters before those
    that failed their exam and these before failures; of adapters the one whose object's name sorts first, of failures the one
    with most attempts."""
    rows = committed.filter(tables.is_among(committed, wanted))
    order = {name: rows[name] for name in ("doc_id", "chunk")}
    order |= {"status": pc.index_in(rows["status"].cast(pa.string()), pa.array(tables.STATUSES))}
    order |= {"adapter_object": rows["adapter_object"].cast(pa.string())}
    order |= {
        "attempts": pc.negate(rows["attempts"]),
        "documents_object": rows["documents_object"].cast(pa.string()),
    }
    order |= {"reason": rows["reason"]}
    rows = rows.take(pc.sort_indices(pa.table(order), sort_keys=[(name, "ascending") for name in order]))
    if rows.num_rows > 1:
        same = [
            pc.equal(rows[name].slice(1), rows[name].slice(0, rows.num_rows - 1))
            for name in ("doc_id", "chunk")
        ]
        rows = rows.filter(pa.chunked_array([pa.array([True]), *pc.invert(pc.and_(*same)).chunks]))
    return tables.index_rows(rows, {})


def _place(bank: Bank, manifest: dict[str, Any], index: bytes) -> Snapshot:
    """The index first, then the manifest, which makes the snapshot visible."""
    sealed = seal(manifest | {"created": now()})
    name = name_of(manifest["number"], sealed)
    put_whole(bank.fs, bank.path(index_path(name)), index)
    put_whole(bank.fs, bank.path(manifest_path(name)), sealed)
    return load(bank, name)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
