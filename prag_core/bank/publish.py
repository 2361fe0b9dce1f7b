"""Publishing a snapshot: the wanted documents, joined with what is committed, less the deleted ones, as one write-once folder.

Runs may race, and a deletion must survive that: a writer that finds, after writing, another snapshot of the same number or
one built beside its own, builds once more on top of it with the deletions of both.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Collection
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from prag_core.bank import tables
from prag_core.bank.commits import Committed, committed_rows
from prag_core.bank.layout import index_path, manifest_path
from prag_core.bank.sealed import seal
from prag_core.bank.snapshot import Snapshot, list_names, load, name_of
from prag_core.bank.store import BankStore
from prag_core.errors import BankError
from prag_core.storage import put_whole, storage_errors

Tombstones = dict[str, dict[str, Any]]  # deleted doc_id → {"at": time, "rows": [[chunk, content_hash], …]}
Wanted = Callable[[Snapshot | None, Tombstones], pa.Table]  # (parent, tombstones) → rows of `tables.WANTED`
OBJECT_COLUMNS = ("documents_object", "augmentations_object", "adapter_object")
MOST_ROUNDS = 50


def publish(
    store: BankStore,
    wanted: Wanted,
    *,
    deleted: Collection[str] = (),
    restored: Collection[str] = (),
) -> Snapshot:
    """Write the snapshot of `wanted(parent, tombstones)` after the newest one, with its tombstones, plus those of `deleted`,
    less those of `restored`. Returns the newest snapshot instead if it says the same already."""
    with storage_errors("writing", store.uri):
        committed = committed_rows(store)
        for attempt in range(MOST_ROUNDS):
            newest = _newest(store)
            parent = newest[0] if newest else None
            tombstones = {
                doc_id: stone for snapshot in reversed(newest) for doc_id, stone in snapshot.deleted.items()
            }
            rows = wanted(parent, tombstones).select(tables.WANTED.names).cast(tables.WANTED)
            for doc_id in restored:
                tombstones.pop(doc_id, None)
            snapshot = _write(store, parent, committed, rows, _bury(tombstones, deleted, rows))
            if snapshot is parent or _counts(snapshot, _newest(store)):
                return snapshot
            time.sleep(random.random() * 0.05 * attempt)
    raise BankError(
        f"{store.uri}: {MOST_ROUNDS} snapshots in a row were overtaken by other runs; try again when they are done"
    )


def _newest(store: BankStore) -> list[Snapshot]:
    """Load the snapshots with the highest number: one, unless runs raced. The one that counts comes first."""
    names = list_names(store)
    return [load(store, name) for name in names if name.split("-")[0] == names[0].split("-")[0]]


def _counts(snapshot: Snapshot, newest: list[Snapshot]) -> bool:
    """Whether a snapshot just written counts, or was built upon, and no deletion made beside it is missing from it."""
    if newest[0].number > snapshot.number:
        return bool(newest[0].manifest["parent"] == snapshot.name)
    return newest[0].name == snapshot.name and all(
        other.deleted.keys() <= snapshot.deleted.keys() for other in newest
    )


def _bury(tombstones: Tombstones, deleted: Collection[str], wanted: pa.Table) -> Tombstones:
    """Add the tombstones of `deleted`, and write to each the content hashes that are wanted of it now (to restore it by)."""
    buried = {doc_id: {"at": now(), "rows": []} for doc_id in deleted} | tombstones
    gone = wanted.filter(tables.has_doc_id(wanted, buried))
    fresh: Tombstones = {}
    for row in gone.to_pylist():
        stone = fresh.setdefault(row["doc_id"], {"at": buried[row["doc_id"]]["at"], "rows": []})
        stone["rows"].append([row["chunk"], row["content_hash"]])
    return dict(sorted((buried | fresh).items()))


def _write(
    store: BankStore, parent: Snapshot | None, committed: Committed, wanted: pa.Table, tombstones: Tombstones
) -> Snapshot:
    """Write the next snapshot, or return `parent` if it says the same."""
    index = select_rows(committed.rows, wanted.filter(pc.invert(tables.has_doc_id(wanted, tombstones))))
    data = tables.to_parquet(index)
    sha256 = hashlib.sha256(data).hexdigest()
    if parent and parent.manifest["index"]["sha256"] == sha256 and parent.deleted.keys() == tombstones.keys():
        return parent
    manifest = {
        "number": parent.number + 1 if parent else 1,
        "parent": parent.name if parent else None,
        "recipe_id": store.recipe.id,
        "index": {"path": "index.parquet", "rows": index.num_rows, "bytes": len(data), "sha256": sha256},
        "objects": [asdict(committed.objects[path]) for path in _object_paths(index)],
        "counts": tables.count_statuses(index) | {"deleted": len(tombstones)},
        "deleted": tombstones,
    }
    return _place(store, manifest, data)


def _object_paths(index: pa.Table) -> list[str]:
    """Paths of the objects that an index names, sorted."""
    columns = [index[name].cast(pa.string()).unique().to_pylist() for name in OBJECT_COLUMNS]
    return sorted({path for column in columns for path in column if path})


def select_rows(committed: pa.Table, wanted: pa.Table) -> pa.Table:
    """Select the committed rows that are wanted, one a document, sorted by (doc_id, chunk). Of several, adapters come before
    those that failed their exam and these before failures; of adapters the one whose object's name sorts first, of failures the
    one with most attempts."""
    rows = committed.filter(tables.is_among(committed, wanted))
    order = {
        "doc_id": rows["doc_id"],
        "chunk": rows["chunk"],
        "status": pc.index_in(rows["status"].cast(pa.string()), pa.array(tables.STATUSES)),
        "adapter_object": rows["adapter_object"].cast(pa.string()),
        "attempts": pc.negate(rows["attempts"]),
        "documents_object": rows["documents_object"].cast(pa.string()),
        "reason": rows["reason"],
    }
    rows = rows.take(pc.sort_indices(pa.table(order), sort_keys=[(name, "ascending") for name in order]))
    if rows.num_rows > 1:
        repeats = [
            pc.equal(rows[name].slice(1), rows[name].slice(0, rows.num_rows - 1))
            for name in ("doc_id", "chunk")
        ]
        rows = rows.filter(pa.chunked_array([pa.array([True]), *pc.invert(pc.and_(*repeats)).chunks]))
    return tables.index_rows(rows, {})


def _place(store: BankStore, manifest: dict[str, Any], index: bytes) -> Snapshot:
    """Write the index first, then the manifest, which makes the snapshot visible."""
    sealed = seal(manifest | {"created": now()})
    name = name_of(manifest["number"], sealed)
    put_whole(store.fs, store.path(index_path(name)), index)
    put_whole(store.fs, store.path(manifest_path(name)), sealed)
    return load(store, name)


def now() -> str:
    """The current time in UTC, ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
