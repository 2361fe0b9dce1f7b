"""Checking a bank: every byte that something counts on, against the digests it was written with.

Covers bank.json, the initial adapter, all commit markers and the objects they name, the manifests and indexes of all
snapshots and the objects of the newest, every adapter's own digest and place in its object, and retrieval indexes.
Files that nothing names are reported as information: leftovers for `gc`, not damage.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from prag_core.bank import commits, snapshot, tables
from prag_core.bank.gc.references import INDEX, referenced
from prag_core.bank.layout import BANK_FILE, ObjectInfo, Stage, marker_path, unseal
from prag_core.bank.reader import shown
from prag_core.bank.snapshot import Snapshot
from prag_core.errors import BankError
from prag_core.storage import TEMPORARY, list_files, read, storage_errors

if TYPE_CHECKING:
    from prag_core.bank.bank import Bank

BLOCK = 1 << 23
PLACE = ["doc_id", "chunk", "content_hash", "start", "length", "sha256", "adapter_object"]


@dataclass(frozen=True)
class Problem:
    """Something wrong with an object of the bank (its path within it), or worth knowing."""

    path: str
    message: str
    severity: Literal["error", "info"] = "error"


def verify(bank: Bank) -> list[Problem]:
    """Everything found: errors first. An empty list, or one of infos alone, is a sound bank."""
    with storage_errors("verifying", bank.uri):
        return sorted(_Verifier(bank).run(), key=lambda problem: (problem.severity, problem.path))


class _Verifier:
    def __init__(self, bank: Bank) -> None:
        self.bank = bank
        self.files = list_files(bank.fs, bank.root)
        self.problems: list[Problem] = []
        self.objects: dict[str, ObjectInfo] = {}
        self.rows: dict[str, pa.Table] = {}  # by adapters object

    def run(self) -> list[Problem]:
        initial = self.bank.fields["initial"]
        self._attempt(BANK_FILE, partial(self._unseal, BANK_FILE))
        self._expect(ObjectInfo(initial["path"], 1, initial["bytes"], initial["sha256"]))
        for stage in Stage:
            for shard_id in sorted(commits.list_shards(self.bank, stage)):
                commit = self._attempt(
                    marker_path(stage, shard_id), partial(commits.find, self.bank, stage, shard_id)
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

    def _unseal(self, path: str) -> dict[str, Any]:
        return unseal(read(self.bank.fs, self.bank.path(path)), path)

    def _attempt(self, path: str, check: Callable[[], Any]) -> Any:
        """The result of a check, or None and a problem with `path`."""
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
        """Those whose manifest and index are whole, newest first."""
        found = []
        for name in snapshot.list_names(self.bank):
            loaded = self._attempt(snapshot.manifest_path(name), partial(snapshot.load, self.bank, name))
            if (
                loaded
                and self._attempt(snapshot.index_path(name), partial(getattr, loaded, "index")) is not None
            ):
                found.append(loaded)
        return found

    def _retrieval_indexes(self) -> None:
        for marker in sorted(
            name for name in self.files if INDEX.match(name) and name.endswith("/index.json")
        ):
            fields = self._attempt(marker, partial(self._unseal, marker))
            for file in fields["files"] if fields else ():
                path = f"{marker.rsplit('/', 1)[0]}/{fields['attempt']}/{file['name']}"
                self._expect(ObjectInfo(path, 0, file["bytes"], file["sha256"]))

    def _check_objects(self) -> None:
        for info in self.objects.values():
            if info.kind == "rows" and info.path in self.files:
                table = self._attempt(info.path, partial(self.bank.read_tables, [info]))
                if table is not None:
                    self.rows[info.path.replace("rows/", "adapters/", 1)] = table[0].sort_by("start")
        with ThreadPoolExecutor(8) as pool:
            for problems in pool.map(lambda info: list(self._check_object(info)), self.objects.values()):
                self.problems += [problem for problem in problems if problem not in self.problems]

    def _check_object(self, info: ObjectInfo) -> Iterator[Problem]:
        """Size and digest of an object, and of each adapter in it, in one pass."""
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
            where = f", at the adapter of {', '.join(damaged[:5])}" if damaged else ""
            yield Problem(
                info.path, f"is damaged: its SHA-256 is not the recorded {info.sha256[:12]}…{where}"
            )
        elif damaged or (info.kind == "adapters" and len(rows) != info.rows):
            yield Problem(info.path, f"does not hold the adapters its rows say: {', '.join(damaged[:5])}")

    def _digest(self, path: str, rows: list[dict[str, Any]]) -> tuple[str, list[str]]:
        """SHA-256 of a whole object, and the rows whose own digest is another."""
        whole, damaged = hashlib.sha256(), []
        with self.bank.fs.open(self.bank.path(path), "rb", block_size=BLOCK) as file:
            for row in rows:
                for _ in _blocks(file, row["start"] - file.tell(), whole):
                    pass
                value = hashlib.sha256()
                for block in _blocks(file, row["length"], whole):
                    value.update(block)
                if value.hexdigest() != row["sha256"]:
                    damaged.append(shown(row["doc_id"], row["chunk"]))
            for _ in _blocks(file, None, whole):
                pass
        return whole.hexdigest(), damaged

    def _check_index(self, newest: Snapshot) -> None:
        """The index agrees with the counts and with the rows of its objects, and has every document once."""
        index, path = newest.index, snapshot.index_path(newest.name)
        statuses = index["status"].cast(pa.string())
        counts = {status: pc.sum(pc.equal(statuses, status)).as_py() or 0 for status in tables.STATUSES}
        counts["deleted"] = len(newest.deleted)
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
            there = tables.is_among(adapters, pa.concat_tables(parts), PLACE)
            wrong = adapters.filter(pc.invert(there)).slice(0, 5).to_pylist()
            for row in wrong:
                self.problems.append(
                    Problem(
                        path, f"places the adapter of {shown(row['doc_id'], row['chunk'])} where it is not"
                    )
                )

    def _orphans(self, snapshots: list[Snapshot]) -> None:
        if any(problem.severity == "error" for problem in self.problems):
            return  # what a damaged marker names is unknown
        named = referenced(self.bank, self.files.keys(), snapshots)
        for name in sorted(self.files.keys() - named):
            what = "an unfinished file" if TEMPORARY in name else "named by nothing that counts"
            self.problems.append(Problem(name, f"{what}; prag bank gc clears it away", "info"))


def _blocks(file: Any, count: int | None, whole: Any) -> Iterator[bytes]:
    """The next `count` bytes of a file (None: all), fed to the digest `whole` on the way."""
    while count is None or count > 0:
        block = file.read(BLOCK if count is None else min(BLOCK, count))
        if not block:
            return
        whole.update(block)
        count = None if count is None else count - len(block)
        yield block
