"""Verification of a bank: every byte that something counts on, against the digests it was written with.

Covers bank.json, the initial adapter, the files of runs, the commits that count and their objects, deletions, claims, the
manifests and catalogs of all published snapshots and the objects of the newest, every adapter's own digest and place in its
object, and retrieval indexes. A bank may be at work meanwhile: what looks damaged is looked at again, and only what stays so is
an error. Files that nothing refers to are reported as information: work in progress, or leftovers for `gc`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from prag_core.bank import commits, deletions, published, runs, snapshot, tables
from prag_core.bank.columns import OF_KIND, check_columns
from prag_core.bank.condemned import read_condemned, read_record
from prag_core.bank.gc.mark import mark
from prag_core.bank.initial_adapter import initial_object
from prag_core.bank.layout import (
    BANK_FILE,
    CONDEMNED,
    ObjectInfo,
    Stage,
    adapters_path,
    claim_copy_path,
    claim_path,
    event_path,
    index_path,
    is_own,
    manifest_path,
    retrieval_files,
    retrieval_folders,
    retrieval_marker,
    run_path,
)
from prag_core.bank.reader import show_key
from prag_core.bank.snapshot import Snapshot
from prag_core.bank.store import BankStore
from prag_core.errors import BankError, CorruptBankError
from prag_core.storage import TEMPORARY, list_files, read, storage_errors

T = TypeVar("T")
BLOCK = 1 << 23
LOOKS_AGAIN = 2
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
        problems = _Verifier(store).run()
        for _ in range(LOOKS_AGAIN):
            if not errors_among(problems):
                break
            before = {problem.path for problem in errors_among(problems)}
            problems = [
                problem
                for problem in _Verifier(store).run()
                if problem.severity == "info" or problem.path in before
            ]
        return sorted(problems, key=lambda problem: (problem.severity, problem.path))


def errors_among(problems: Iterable[Problem]) -> list[Problem]:
    """Those of the problems that are damage."""
    return [problem for problem in problems if problem.severity == "error"]


class _Verifier:
    def __init__(self, store: BankStore) -> None:
        self.store = store
        self.all_files = list_files(store.fs, store.root)
        self.files = {name: info for name, info in self.all_files.items() if is_own(name)}
        self.problems: list[Problem] = []
        self.objects: dict[str, ObjectInfo] = {}
        self.rows: dict[str, pa.Table] = {}  # by adapters object

    def run(self) -> list[Problem]:
        self._attempt(BANK_FILE, partial(self.store.read_sealed, BANK_FILE))
        if initial := self._attempt(BANK_FILE, partial(initial_object, self.store)):
            self._expect(initial)
        self._commits()
        self._deletions()
        self._condemned()
        snapshots = self._snapshots()
        for info in snapshots[0].objects.values() if snapshots else ():
            self._expect(info)
        self._retrieval_indexes()
        self._runs()
        self._check_objects()
        if snapshots:
            self._check_index(snapshots[0])
        self._left_over()
        return self.problems

    def _commits(self) -> None:
        """The commit that counts of every shard, its objects, and the file that stands in for it should it be lost."""
        for stage in Stage:
            for _, shard in sorted(commits.list_commit_files(self.store, stage).items()):
                self._commits_of(shard)

    def _commits_of(self, shard: commits.CommitFiles) -> None:
        for path in shard.candidates():
            commit = self._attempt(path, partial(self._commit, path))
            if commit is None:
                continue
            if path == commit.path and any(info.path not in self.files for info in commit.objects):
                continue  # its writer died while its objects were cleared away
            for info in commit.objects:
                self._expect(info)
            if commit.path != path and (commit.generation, commit.attempt) in shard.attempts:
                self._attempt(commit.path, partial(self._commit, commit.path))
            break

    def _commit(self, path: str) -> commits.Commit:
        return commits.decode_commit(self.store, read(self.store.fs, self.store.path(path)), path)

    def _deletions(self) -> None:
        for event in sorted(deletions.list_events(self.store)):
            self._attempt(event_path(event), partial(deletions.read_events, self.store, [event]))

    def _condemned(self) -> None:
        for path in filter(CONDEMNED.fullmatch, sorted(self.files)):
            self._attempt(path, partial(read_record, self.store, path))

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
        """The published snapshots whose manifest and catalog are whole, the newest first; none if the newest is not."""
        claims = published.list_published(self.store)
        for number in claims.claims & {claims.newest, *claims.copies}:
            self._attempt(claim_path(number), partial(self.store.read_sealed, claim_path(number)))
        for name in (name for names in claims.copies.values() for name in names):
            self._attempt(claim_copy_path(name), partial(self.store.read_sealed, claim_copy_path(name)))
        lost = claim_path(max(claims.copies, default=claims.newest))
        names = self._attempt(lost, partial(published.list_names, self.store)) or []
        whole = []
        for name in names:
            loaded = self._attempt(manifest_path(name), partial(snapshot.load, self.store, name))
            if loaded and self._catalog(loaded):
                whole.append(loaded)
        return whole if names and whole and whole[0].name == names[0] else []

    def _catalog(self, loaded: Snapshot) -> bool:
        """Whether the parts and tables of a snapshot can be read."""
        if loaded.is_old:
            return self._attempt(index_path(loaded.name), partial(getattr, loaded, "index")) is not None
        objects, commits = loaded.catalog_tables
        checks: dict[str, Callable[[], object]] = {
            part.info.path: partial(loaded.read_part, part) for part in loaded.parts
        }
        checks[objects.path], checks[commits.path] = lambda: loaded.objects, lambda: loaded.commits
        read = [self._attempt(path, check) for path, check in checks.items()]
        return all(found is not None for found in read)

    def _runs(self) -> None:
        """The files of runs that have a plan, with the documents that wait for their shard."""
        for run in runs.list_runs(self.store):
            infos = self._attempt(run_path(run, runs.PLAN_FILE), partial(runs.run_objects, self.store, run))
            for info in infos or ():
                self._expect(info)

    def _retrieval_indexes(self) -> None:
        for folder in retrieval_folders(self.files):
            marker = retrieval_marker(folder)
            for info in self._attempt(marker, partial(self._index_files, folder)) or ():
                self._expect(info)

    def _index_files(self, folder: str) -> list[ObjectInfo]:
        """The files that the marker of a retrieval index names."""
        marker = retrieval_marker(folder)
        fields = self.store.read_sealed(marker)
        place = retrieval_files(folder, fields["attempt"])
        described = [
            {"path": f"{place}/{file['name']}", "rows": 0, "bytes": file["bytes"], "sha256": file["sha256"]}
            for file in fields["files"]
        ]
        return [ObjectInfo.from_fields(fields, self.store.path(marker)) for fields in described]

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
        try:
            whole, damaged = self._digest(info.path, rows)
            other_kind = self._other_kind(info) if whole == info.sha256 else None
        except FileNotFoundError:
            yield Problem(info.path, "is missing")
            return
        if whole != info.sha256:
            place = f", at the adapter of {', '.join(damaged[:5])}" if damaged else ""
            yield Problem(
                info.path, f"is damaged: its SHA-256 is not the recorded {info.sha256[:12]}…{place}"
            )
        elif damaged or (info.path in self.rows and len(rows) != info.rows):
            yield Problem(info.path, f"does not hold the adapters its rows say: {', '.join(damaged[:5])}")
        elif other_kind:
            yield Problem(info.path, other_kind)

    def _other_kind(self, info: ObjectInfo) -> str | None:
        """What an object is that is no table of its kind, though its bytes are what was written. None if it is one."""
        if info.kind not in OF_KIND:
            return None
        try:
            with self.store.fs.open(self.store.path(info.path), "rb") as file:
                check_columns(pq.read_schema(file), OF_KIND[info.kind], self.store.path(info.path))
        except (CorruptBankError, pa.ArrowException, ValueError) as error:
            return f"{error}"
        return None

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
        """Check that the catalog agrees with its counts and with the rows of its objects, and has every document once."""
        index, path = newest.index, manifest_path(newest.name)
        statuses = index["status"].cast(pa.string())
        counts = tables.count_statuses(index) | {"deleted": len(newest.deleted)}
        if counts != newest.counts:
            self.problems.append(Problem(path, f"holds {counts}, its parts say {newest.counts}"))
        if len(pc.unique(tables.join_keys(index, ["doc_id", "chunk"]))) != index.num_rows:
            self.problems.append(Problem(path, "has a document twice"))
        adapters = index.filter(pc.not_equal(statuses, "failed"))
        parts = [
            rows.select(PLACE[:-1]).append_column(PLACE[-1], pa.array([name] * rows.num_rows))
            for name, rows in self.rows.items()
        ]
        known = adapters.filter(
            pc.is_in(adapters["adapter_object"].cast(pa.string()), pa.array(list(self.rows), pa.string()))
        )
        if parts:
            confirmed = tables.is_among(known, pa.concat_tables(parts), PLACE)
            for row in known.filter(pc.invert(confirmed)).slice(0, 5).to_pylist():
                key = show_key(row["doc_id"], row["chunk"])
                self.problems.append(Problem(path, f"places the adapter of {key} where it is not"))

    def _left_over(self) -> None:
        """Report the files that nothing refers to, unless damage keeps that from being known."""
        self.problems += [
            Problem(name, "is no file of the bank; gc leaves it alone", "info")
            for name in sorted(self.all_files.keys() - self.files.keys())
        ]
        if errors_among(self.problems):
            return
        try:
            ever = datetime.min.replace(tzinfo=UTC)  # superseded snapshots are left over for gc to judge
            marked = mark(self.store, self.files, ever, datetime.now(UTC), read_condemned(self.store))
        except BankError:  # superseded while we looked
            return
        for name in sorted(self.files.keys() - marked):
            kind = "an unfinished file" if TEMPORARY in name else "referred to by nothing"
            text = f"{kind}: work in progress, or left over for prag bank gc"
            self.problems.append(Problem(name, text, "info"))


def _blocks(file: Any, count: int | None, whole: Any) -> Iterator[bytes]:
    """Read the next `count` bytes of a file (None: all), and feed them to the digest `whole`."""
    while count is None or count > 0:
        block = file.read(BLOCK if count is None else min(BLOCK, count))
        if not block:
            return
        whole.update(block)
        count = None if count is None else count - len(block)
        yield block
