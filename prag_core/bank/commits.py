"""Commit markers: one small write-once file a shard and stage says which attempt counts, and what it is made of.

A marker is created if absent and read back. On a store where two racing creates can both succeed, the later one stays;
both attempts are whole, each writer returns what it then found, and a snapshot names its objects one by one, so either is right.
Only gc ever replaces a marker, by one without the rows that were deleted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from prag_core.bank import tables
from prag_core.bank.layout import ObjectInfo, Stage, marker_path, seal, unseal
from prag_core.errors import BankError, CorruptBankError
from prag_core.storage import create_exclusive, list_files, read, read_many

if TYPE_CHECKING:
    from prag_core.bank.bank import Bank


@dataclass(frozen=True)
class Commit:
    """The attempt at a shard's stage that counts: the objects it wrote and those it was made from."""

    stage: Stage
    shard_id: str
    attempt: str
    objects: tuple[ObjectInfo, ...]

    def object(self, kind: str) -> ObjectInfo | None:
        """The object of a kind: documents, augmentations, adapters, rows, or its own failures (`all` has those before it too)."""
        found = [info for info in self.all(kind) if kind != "failures" or self.attempt in info.path]
        return found[0] if found else None

    def all(self, kind: str) -> list[ObjectInfo]:
        return [info for info in self.objects if info.kind == kind]


def publish(bank: Bank, commit: Commit) -> Commit:
    """Claim the shard for this attempt. Returns whichever commit the bank names afterwards."""
    path = marker_path(commit.stage, commit.shard_id)
    if create_exclusive(bank.fs, bank.path(path), to_marker(bank, commit)):
        return commit
    return find(bank, commit.stage, commit.shard_id) or commit


def find(bank: Bank, stage: Stage, shard_id: str) -> Commit | None:
    path = marker_path(stage, shard_id)
    try:
        return from_marker(bank, read(bank.fs, bank.path(path)), path)
    except FileNotFoundError:
        return None


def list_shards(bank: Bank, stage: Stage) -> set[str]:
    """Shards that have a marker: one listing, nothing read."""
    names = list_files(bank.fs, bank.path(f"commits/{stage.value}"))
    return {
        name.removesuffix(".json") for name in names if name.endswith(".json") and not name.startswith(".")
    }


def list_all(bank: Bank, stage: Stage) -> dict[str, Commit]:
    """Every commit of a stage, by shard: one listing, then concurrent reads."""
    paths = [marker_path(stage, shard) for shard in sorted(list_shards(bank, stage))]
    found = zip(paths, read_many(bank.fs, [bank.path(path) for path in paths]), strict=True)
    commits = [from_marker(bank, data, path) for path, data in found]
    return {commit.shard_id: commit for commit in commits}


def to_marker(bank: Bank, commit: Commit) -> bytes:
    fields = {
        "stage": commit.stage.value,
        "shard_id": commit.shard_id,
        "attempt": commit.attempt,
        "recipe_id": bank.recipe.id,
    }
    return seal(fields | {"objects": [asdict(info) for info in commit.objects]})


def from_marker(bank: Bank, data: bytes, path: str) -> Commit:
    fields: dict[str, Any] = unseal(data, bank.path(path))
    if fields["recipe_id"] != bank.recipe.id:
        raise BankError(
            f"{bank.path(path)} is of another recipe: two runs created this bank at once; start a bank for each"
        )
    objects = tuple(ObjectInfo(**info) for info in fields["objects"])
    commit = Commit(Stage(fields["stage"]), fields["shard_id"], fields["attempt"], objects)
    if marker_path(commit.stage, commit.shard_id) != path:
        raise CorruptBankError(
            f"{bank.path(path)} is the marker of another shard ({commit.shard_id}); restore it from a copy"
        )
    return commit


def inputs_of(bank: Bank, stage: Stage, shard_id: str, given: Sequence[ObjectInfo]) -> list[ObjectInfo]:
    """What an attempt was made from: the given objects, then the shard's documents and augmentations where none were given.

    All documents objects of a shard hold the same documents, since a shard's name is made of theirs.
    """
    objects = list(given)
    kinds = {info.kind for info in given}
    if "documents" not in kinds:
        objects += _documents_of(bank, shard_id)
    if stage is Stage.adapters and "augmentations" not in kinds:
        augmented = find(bank, Stage.augmentations, shard_id)
        objects += [*augmented.all("augmentations"), *augmented.all("failures")] if augmented else []
    return objects


def _documents_of(bank: Bank, shard_id: str) -> list[ObjectInfo]:
    found = sorted(
        name
        for name in list_files(bank.fs, bank.path("documents"), f"{shard_id}-")
        if not name.startswith(".")
    )
    if not found:
        return []
    data = read(bank.fs, bank.path(f"documents/{found[0]}"))
    rows = pq.read_metadata(pa.BufferReader(data)).num_rows
    return [ObjectInfo(f"documents/{found[0]}", rows, len(data), hashlib.sha256(data).hexdigest())]


class Committed(NamedTuple):
    """All that is committed: adapters and failures, one row each with the columns of an index (unsorted, with repeats), and every
    object by path."""

    rows: pa.Table
    objects: dict[str, ObjectInfo]


def committed_rows(bank: Bank) -> Committed:
    """Read every marker, and what lies where. What one attempt and the next name alike is read once."""
    commits = [
        commit for stage in (Stage.augmentations, Stage.adapters) for commit in list_all(bank, stage).values()
    ]
    wanted = {
        info: commit for commit in commits for kind in ("failures", "rows") for info in commit.all(kind)
    }
    found = zip(wanted.items(), bank.read_tables(list(wanted)), strict=True)
    threshold = bank.recipe.fields.get("acceptance", {}).get("threshold")
    parts = [_index_rows(commit, info, rows, threshold) for (info, commit), rows in found]
    rows = pa.concat_tables([tables.INDEX.empty_table(), *parts]).unify_dictionaries()
    return Committed(rows, {info.path: info for commit in commits for info in commit.objects})


def _index_rows(commit: Commit, info: ObjectInfo, rows: pa.Table, threshold: float | None) -> pa.Table:
    """The rows or failures of one object as index rows; `threshold` is of the exam that adapters had to pass."""
    kinds = ("documents", "augmentations", "adapters")
    objects = {kind: found.path if (found := commit.object(kind)) else None for kind in kinds}
    trained = info.kind == "rows"
    constant: dict[str, str | None] = {
        "status": "adapter" if trained else "failed",
        "documents_object": objects["documents"],
        "augmentations_object": objects["augmentations"],
        "adapter_object": objects["adapters"] if trained else None,
    }
    if trained and "accepted" in rows.column_names and pc.any(pc.invert(rows["accepted"])).as_py():
        del constant["status"]
        rows = _with_verdicts(rows, threshold)
    return tables.index_rows(rows, constant)


def _with_verdicts(rows: pa.Table, threshold: float | None) -> pa.Table:
    """Rows of adapters with their status, and where that is text_only, why."""
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
