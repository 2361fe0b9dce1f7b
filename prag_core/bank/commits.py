"""Commits: one small write-once file a shard and stage says which attempt counts, and which objects it is made of.

A marker is created if absent and read back. On a store where two racing creates can both succeed, the later one stays.
Both attempts are whole, each writer returns the commit it reads back, and a snapshot names its objects one by one, so either
is right. Only gc ever replaces a marker, by one without the rows of deleted documents.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from prag_core.bank import tables
from prag_core.bank.layout import ObjectInfo, Stage, marker_path
from prag_core.bank.sealed import seal, unseal
from prag_core.bank.store import BankStore
from prag_core.errors import BankError, CorruptBankError
from prag_core.storage import create_exclusive, list_files, read, read_many, storage_errors


@dataclass(frozen=True)
class Commit:
    """The attempt at a shard's stage that counts: the objects it wrote and those it was made from."""

    stage: Stage
    shard_id: str
    attempt: str
    objects: tuple[ObjectInfo, ...]

    def object(self, kind: str) -> ObjectInfo | None:
        """The object of a kind: documents, augmentations, adapters, rows, or its own failures (`all` has earlier ones too)."""
        infos = [info for info in self.all(kind) if kind != "failures" or self.attempt in info.path]
        return infos[0] if infos else None

    def all(self, kind: str) -> list[ObjectInfo]:
        return [info for info in self.objects if info.kind == kind]


def claim(store: BankStore, commit: Commit) -> Commit:
    """Claim the shard for this attempt. Returns the commit that the bank names afterwards."""
    path = marker_path(commit.stage, commit.shard_id)
    with storage_errors("writing", store.uri):
        if create_exclusive(store.fs, store.path(path), to_marker(store, commit)):
            return commit
    return find(store, commit.stage, commit.shard_id) or commit


def find(store: BankStore, stage: Stage, shard_id: str) -> Commit | None:
    """Read the commit of a shard, or None if there is none. Raises CorruptBankError for a damaged one."""
    path = marker_path(stage, shard_id)
    try:
        with storage_errors("reading", store.uri):
            return from_marker(store, read(store.fs, store.path(path)), path)
    except FileNotFoundError:
        return None


def list_shards(store: BankStore, stage: Stage) -> set[str]:
    """List the shards that have a marker, reading none."""
    with storage_errors("reading", store.uri):
        names = list_files(store.fs, store.path(f"commits/{stage.value}"))
    return {
        name.removesuffix(".json") for name in names if name.endswith(".json") and not name.startswith(".")
    }


def list_all(store: BankStore, stage: Stage) -> dict[str, Commit]:
    """Read every commit of a stage, by shard: one listing, then concurrent reads."""
    paths = [marker_path(stage, shard_id) for shard_id in sorted(list_shards(store, stage))]
    with storage_errors("reading", store.uri):
        contents = read_many(store.fs, [store.path(path) for path in paths])
    commits = [from_marker(store, data, path) for path, data in zip(paths, contents, strict=True)]
    return {commit.shard_id: commit for commit in commits}


def to_marker(store: BankStore, commit: Commit) -> bytes:
    """Encode a commit as the content of its marker."""
    return seal(
        {
            "stage": commit.stage.value,
            "shard_id": commit.shard_id,
            "attempt": commit.attempt,
            "recipe_id": store.recipe.id,
            "objects": [asdict(info) for info in commit.objects],
        }
    )


def from_marker(store: BankStore, data: bytes, path: str) -> Commit:
    """Decode the marker at `path`. Raises CorruptBankError if it is damaged, BankError if it is of another recipe."""
    fields: dict[str, Any] = unseal(data, store.path(path))
    if fields["recipe_id"] != store.recipe.id:
        raise BankError(
            f"{store.path(path)} is of another recipe: two runs created this bank at once; start a bank for each"
        )
    objects = tuple(ObjectInfo(**info) for info in fields["objects"])
    commit = Commit(Stage(fields["stage"]), fields["shard_id"], fields["attempt"], objects)
    if marker_path(commit.stage, commit.shard_id) != path:
        raise CorruptBankError(
            f"{store.path(path)} is the marker of another shard ({commit.shard_id}); restore it from a copy"
        )
    return commit


def inputs_of(
    store: BankStore, stage: Stage, shard_id: str, inputs: Sequence[ObjectInfo]
) -> list[ObjectInfo]:
    """Complete the objects that an attempt was made from: `inputs`, then the shard's documents and augmentations if they are
    not among them.

    All documents objects of a shard hold the same documents, since a shard's name is made of theirs.
    """
    objects = list(inputs)
    kinds = {info.kind for info in inputs}
    if "documents" not in kinds:
        objects += _documents_of(store, shard_id)
    if stage is Stage.adapters and "augmentations" not in kinds:
        augmented = find(store, Stage.augmentations, shard_id)
        objects += [*augmented.all("augmentations"), *augmented.all("failures")] if augmented else []
    return objects


def _documents_of(store: BankStore, shard_id: str) -> list[ObjectInfo]:
    """Find a documents object of a shard: the first by name, or none."""
    names = list_files(store.fs, store.path("documents"), f"{shard_id}-")
    whole = sorted(name for name in names if not name.startswith("."))
    if not whole:
        return []
    data = read(store.fs, store.path(f"documents/{whole[0]}"))
    num_rows = pq.read_metadata(pa.BufferReader(data)).num_rows
    return [ObjectInfo(f"documents/{whole[0]}", num_rows, len(data), hashlib.sha256(data).hexdigest())]


class Committed(NamedTuple):
    """Everything that is committed: adapters and failures, one row each with the columns of an index (unsorted, with repeats),
    and every object by path."""

    rows: pa.Table
    objects: dict[str, ObjectInfo]


def committed_rows(store: BankStore) -> Committed:
    """Read every commit, and the rows of its adapters and failures. An object that several commits name is read once."""
    commits = [
        commit
        for stage in (Stage.augmentations, Stage.adapters)
        for commit in list_all(store, stage).values()
    ]
    owners = {
        info: commit for commit in commits for kind in ("failures", "rows") for info in commit.all(kind)
    }
    threshold = store.recipe.fields.get("acceptance", {}).get("threshold")
    parts = [
        _index_rows(commit, info, rows, threshold)
        for (info, commit), rows in zip(owners.items(), store.read_tables(list(owners)), strict=True)
    ]
    rows = pa.concat_tables([tables.INDEX.empty_table(), *parts]).unify_dictionaries()
    return Committed(rows, {info.path: info for commit in commits for info in commit.objects})


def _index_rows(commit: Commit, info: ObjectInfo, rows: pa.Table, threshold: float | None) -> pa.Table:
    """The rows or failures of one object as index rows. `threshold` is of the exam that adapters had to pass."""
    kinds = ("documents", "augmentations", "adapters")
    paths = {kind: named.path if (named := commit.object(kind)) else None for kind in kinds}
    trained = info.kind == "rows"
    constant: dict[str, str | None] = {
        "status": "adapter" if trained else "failed",
        "documents_object": paths["documents"],
        "augmentations_object": paths["augmentations"],
        "adapter_object": paths["adapters"] if trained else None,
    }
    if trained and "accepted" in rows.column_names and pc.any(pc.invert(rows["accepted"])).as_py():
        del constant["status"]
        rows = _with_verdicts(rows, threshold)
    return tables.index_rows(rows, constant)


def _with_verdicts(rows: pa.Table, threshold: float | None) -> pa.Table:
    """Add the status of each adapter to its row and, where that is text_only, the reason."""
    text_only = [accepted is False for accepted in rows["accepted"].to_pylist()]
    asked_for = "" if threshold is None else f", {threshold:.0%} are asked for"
    columns = {
        "status": ["text_only" if failed else "adapter" for failed in text_only],
        "stage": ["acceptance" if failed else None for failed in text_only],
        "reason": [
            f"its adapter answered {score:.0%} of the document's own questions{asked_for}" if failed else None
            for failed, score in zip(text_only, rows["score"].to_pylist(), strict=True)
        ],
    }
    for name, values in columns.items():
        rows = rows.append_column(name, pa.array(values, pa.string()))
    return rows
