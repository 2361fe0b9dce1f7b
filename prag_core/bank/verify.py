"""Verification of a bank: every byte that something counts on, against the digests it was written with.

Covers store.json, the initial adapter, all commit markers and the objects they name, the manifests and indexes of all
snapshots and the objects of the newest, every adapter's own digest and place in its object, and retrieval indexes.
Files that nothing names are reported as information: leftovers for `gc`, not damage.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from prag_core.bank import commits, snapshot, tables
from prag_core.bank.gc.mark import mark
from prag_core.bank.layout import (
    BANK_FILE,
    ObjectInfo,
    Stage,
    adapters_path,
    index_path,
    manifest_path,
    marker_path,
    retrieval_files,
    retrieval_folders,
    retrieval_marker,
)
from prag_core.bank.reader import show_key
from prag_core.bank.snapshot import Snapshot
from prag_core.bank.store import BankStore
from prag_core.errors import BankError
from prag_core.storage import TEMPORARY, list_files, storage_errors

T = TypeVar("T")
BLOCK = 1 << 23
PLACE = ["doc_id", "chunk", "content_hash", "start", "length", "sha256", "adapter_object"]


@dataclass(frozen=True)
class Problem:
    """Something wrong with an object of the bank (its path within it), or worth knowing."""

    path: str
    message: str
    severity: Literal["error", "info"] = "error"


def verify(store: BankStore) -> list[Problem]:
    """Check everything. Returns the problems, errors first; a sound bank has none, or infos alone."""
    with storage_errors("verifying", store.uri):
        return sorted(_Verifier(store).run(), key=lambda problem: (problem.severity, problem.path))


class _Verifier:
    def __init__(self, store: BankStore) -> None:
        self.store = store
        self.files = list_files(store.fs, store.root)
        self.problems: list[Problem] = []
        self.objects: dict[str, ObjectInfo] = {}
        self.rows: dict[str, pa.Table] = {}  # by adapters object

    def run(self) -> list[Problem]:
        initial = self.store.fields["initial"]
        self._attempt(BANK_FILE, partial(self.store.read_sealed, BANK_FILE))
        self._expect(ObjectInfo(initial["path"], 1, initial["bytes"], initial["sha256"]))
        for stage in Stage:
            for shard_id in sorted(commits.list_shards(self.store, stage)):
                commit = self._attempt(
                    marker_path(stage, shard_id), partial(commits.find, self.store, stage, shard_id)
                )
                for info in commit.objects if commit else ():
                    self._expect(info)
        snapshots = self._snapshots()
        for info in snapshots[0].objects.values() if snapshots else ():
            self._expect(info)
        self._retrieval_indexes()
        self._check_objects()
        if snapshots:
            self._check_index(snapshots[0])
        self._orphans(snapshots)
        return self.problems

    def _attempt(self, path: str, check: Callable[[], T]) -> T | None:
        """Return the result of a check, or None after noting a problem with `path`."""
        try:
            return check()
        except FileNotFoundError:
            self.problems.append(Problem(path, "is missing"))
        except (BankError, KeyError, TypeError, ValueError) as error:
            self.problems.append(Problem(path, f"{error}"))
        return None

    def _expect(self, info: ObjectInfo) -> None:
        known = self.objects.setdefault(info.path, info)
        if known != info:
            self.problems.append(
                Problem(info.path, f"is named with two digests: {known.sha256[:12]}… and {info.sha256[:12]}…")
            )

    def _snapshots(self) -> list[Snapshot]:
        """The snapshots whose manifest and index are whole, newest first."""
        whole = []
        for name in snapshot.list_names(self.store):
            loaded = self._attempt(manifest_path(name), partial(snapshot.load, self.store, name))
            if loaded and self._attempt(index_path(name), partial(getattr, loaded, "index")) is not None:
                whole.append(loaded)
        return whole

    def _retrieval_indexes(self) -> None:
        for folder in retrieval_folders(self.files):
            marker = retrieval_marker(folder)
            fields = self._attempt(marker, partial(self.store.read_sealed, marker))
            if fields is None:
                continue
            for file in fields["files"]:
                path = f"{retrieval_files(folder, fields['attempt'])}/{file['name']}"
                self._expect(ObjectInfo(path, 0, file["bytes"], file["sha256"]))

    def _check_objects(self) -> None:
        for info in self.objects.values():
            if info.kind == "rows" and info.path in self.files:
                table = self._attempt(info.path, partial(self.store.read_table, info))
                if table is not None:
                    self.rows[adapters_path(info.path)] = table.sort_by("start")
        with ThreadPoolExecutor(8) as pool:
            for problems in pool.map(lambda info: list(self._check_object(info)), self.objects.values()):
                self.problems += [problem for problem in problems if problem not in self.problems]

    def _check_object(self, info: ObjectInfo) -> Iterator[Problem]:
        """Check size and digest of an object, and of each adapter in it, in one pass."""
        if info.path not in self.files:
            yield Problem(info.path, "is missing")
            return
        size = self.files[info.path].get("size")
        if size != info.bytes:
            yield Problem(info.path, f"is damaged: {size} bytes, expected {info.bytes}")
            return
        rows = self.rows[info.path].to_pylist() if info.path in self.rows else []
        whole, damaged = self._digest(info.path, rows)
        if whole != info.sha256:
            place = f", at the adapter of {', '.join(damaged[:5])}" if damaged else ""
            yield Problem(
                info.path, f"is damaged: its SHA-256 is not the recorded {info.sha256[:12]}…{place}"
            )
        elif damaged or (info.kind == "adapters" and len(rows) != info.rows):
            yield Problem(info.path, f"does not hold the adapters its rows say: {', '.join(damaged[:5])}")

    def _digest(self, path: str, rows: list[dict[str, Any]]) -> tuple[str, list[str]]:
        """SHA-256 of a whole object, and the rows whose own digest does not match."""
        whole, damaged = hashlib.sha256(), []
        with self.store.fs.open(self.store.path(path), "rb", block_size=BLOCK) as file:
            for row in rows:
                for _ in _blocks(file, row["start"] - file.tell(), whole):
                    pass
                value = hashlib.sha256()
                for block in _blocks(file, row["length"], whole):
                    value.update(block)
                if value.hexdigest() != row["sha256"]:
                    damaged.append(show_key(row["doc_id"], row["chunk"]))
            for _ in _blocks(file, None, whole):
                pass
        return whole.hexdigest(), damaged

    def _check_index(self, newest: Snapshot) -> None:
        """Check that the index agrees with its counts and with the rows of its objects, and has every document once."""
        index, path = newest.index, index_path(newest.name)
        statuses = index["status"].cast(pa.string())
        counts = tables.count_statuses(index) | {"deleted": len(newest.deleted)}
        if counts != newest.counts:
            self.problems.append(Problem(path, f"holds {counts}, its manifest says {newest.counts}"))
        if len(pc.unique(tables.join_keys(index, ["doc_id", "chunk"]))) != index.num_rows:
            self.problems.append(Problem(path, "has a document twice"))
        adapters = index.filter(pc.not_equal(statuses, "failed"))
        parts = [
            rows.select(PLACE[:-1]).append_column(PLACE[-1], pa.array([name] * rows.num_rows))
            for name, rows in self.rows.items()
        ]
        if parts:
            confirmed = tables.is_among(adapters, pa.concat_tables(parts), PLACE)
            for row in adapters.filter(pc.invert(confirmed)).slice(0, 5).to_pylist():
                key = show_key(row["doc_id"], row["chunk"])
                self.problems.append(Problem(path, f"places the adapter of {key} where it is not"))

    def _orphans(self, snapshots: list[Snapshot]) -> None:
        if any(problem.severity == "error" for problem in self.problems):
            return  # the files that a damaged commit names are unknown
        marked = mark(self.store, self.files.keys(), snapshots)
        for name in sorted(self.files.keys() - marked):
            kind = "an unfinished file" if TEMPORARY in name else "named by nothing that counts"
            self.problems.append(Problem(name, f"{kind}; prag bank gc clears it away", "info"))


def _blocks(file: Any, count: int | None, whole: Any) -> Iterator[bytes]:
    """Read the next `count` bytes of a file (None: all), and feed them to the digest `whole`."""
    while count is None or count > 0:
        block = file.read(BLOCK if count is None else min(BLOCK, count))
        if not block:
            return
        whole.update(block)
        count = None if count is None else count - len(block)
        yield block
