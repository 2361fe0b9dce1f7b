"""Repair: name what is damaged, set it apart, and make its documents new for the next run.

Nothing is thrown away: damaged files go to BANK/damaged/<repair>/, which gc clears after its grace period. Whatever has a
second copy is restored from it; adapters that are whole beside damaged ones are kept; a snapshot that is lost is built again
from the commits. What has no second copy (bank.json, the initial adapter, a deletion that no snapshot knows) is named, for the
user to restore from a copy.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from prag_core.bank import tables
from prag_core.bank.columns import check_columns, conform
from prag_core.bank.commits import Commit, claim, list_commit_files, read_winner
from prag_core.bank.committed import read_committed
from prag_core.bank.deletions import Deletions, catch_up, write_again
from prag_core.bank.layout import (
    CLAIM,
    COMMIT,
    COPY,
    EVENT,
    ObjectInfo,
    Stage,
    adapters_path,
    claim_copy_path,
    manifest_path,
    new_attempt,
    shard_of,
)
from prag_core.bank.publish import Request, publish
from prag_core.bank.published import list_published
from prag_core.bank.runs import list_runs, read_run
from prag_core.bank.sealed import seal
from prag_core.bank.snapshot import Snapshot, latest, load
from prag_core.bank.store import BankStore
from prag_core.bank.verify import Problem, errors_among, verify
from prag_core.bank.writer import write_rows
from prag_core.errors import BankError, CorruptBankError
from prag_core.storage import put_whole, read, remove, storage_errors

DATA = ("documents", "augmentations", "adapters", "rows", "failures")
ALONE = ("bank.json", "init/", "deletions/")  # have no second copy


@dataclass(frozen=True, kw_only=True)
class RepairReport:
    """What a repair did, or would do in a dry run. Files are paths within the bank."""

    dry_run: bool
    damaged: tuple[Problem, ...]
    beyond_repair: tuple[Problem, ...]  # to be restored from a copy
    documents: tuple[str, ...]  # that are new for the next run
    folder: str  # where the damaged files are now


def repair(store: BankStore, dry_run: bool = True) -> RepairReport:
    """Repair what `verify` finds damaged. With `dry_run` nothing changes, and `documents` is empty."""
    with storage_errors("repairing", store.uri):
        worker = _Repair(store)
        damaged = errors_among(verify(store))
        if damaged and not dry_run:
            worker.run([problem.path for problem in damaged])
        left = errors_among(verify(store)) if damaged and not dry_run else damaged
        return RepairReport(
            dry_run=dry_run,
            damaged=tuple(damaged),
            beyond_repair=tuple(p for p in left if not dry_run or p.path.startswith(ALONE)),
            documents=tuple(sorted(worker.documents)),
            folder=worker.folder,
        )


class _Repair:
    """One repair of a bank."""

    def __init__(self, store: BankStore) -> None:
        self.store = store
        self.folder = f"damaged/{new_attempt()}"
        self.documents: set[str] = set()

    def run(self, paths: Collection[str]) -> None:
        self._claims(paths)
        newest = self._readable(latest)
        self._deletions(paths, newest)
        for path in paths:
            if path.startswith(("runs/", "indexes/")):
                self._set_apart(path)
        self._commits(paths)
        dropped = self._shards(paths, newest)
        if newest is None:
            self._rebuild()
        else:
            publish(self.store, Request(dropped=dropped))
        self._older_snapshots()
        for path in paths:
            if path.startswith((*(f"{kind}/" for kind in DATA), "snapshots/", "catalog/")):
                self._set_apart(path)

    def _set_apart(self, path: str) -> None:
        """Move a file into this repair's folder, if there is one."""
        with suppress(FileNotFoundError):
            data = read(self.store.fs, self.store.path(path))
            put_whole(self.store.fs, self.store.path(f"{self.folder}/{path}"), data)
            remove(self.store.fs, self.store.root, [path])

    def _claims(self, paths: Collection[str]) -> None:
        """Restore a claim from its copy, and a copy from its claim."""
        published = list_published(self.store)
        for path in paths:
            if match := CLAIM.fullmatch(path):
                names = published.copies.get(int(match[1]), [])
            elif match := COPY.fullmatch(path):
                names = [match[1]]
            else:
                continue
            self._set_apart(path)
            if len(names) == 1:
                number = int(names[0].split("-")[0])
                put_whole(self.store.fs, self.store.path(path), seal({"number": number, "name": names[0]}))

    def _readable(self, find: Callable[[BankStore], Snapshot | None]) -> Snapshot | None:
        """A snapshot, if its manifest and its catalog can be read."""
        try:
            found = find(self.store)
            if found:
                _ = found.objects, found.commits, [found.read_part(part) for part in found.parts]
            return found
        except CorruptBankError:
            return None

    def _older_snapshots(self) -> None:
        """Set snapshots apart that can no longer be read. The newest can."""
        for names in list_published(self.store).written.values():
            for name in names:
                if self._readable(partial(load, name=name)) is None:
                    self._set_apart(manifest_path(name))
                    self._set_apart(claim_copy_path(name))

    def _deletions(self, paths: Collection[str], newest: Snapshot | None) -> None:
        """Write a damaged deletion again as the newest snapshot knows it."""
        for path in paths:
            if (match := EVENT.fullmatch(path)) and newest and match[1] in newest.manifest.get("events", ()):
                self._set_apart(path)
                known = Deletions.of_manifest(newest.manifest).documents
                write_again(self.store, match[1], [d for d, of in known.items() if match[1] in of.events])

    def _commits(self, paths: Collection[str]) -> None:
        """Set damaged commits apart, and write that which stands in for one in its place."""
        damaged = [path for path in paths if path.startswith("commits/")]
        for path in damaged:
            self._set_apart(path)
        for stage in Stage:
            names = {path.rsplit("/", 1)[1] for path in damaged if path.startswith(f"commits/{stage.value}/")}
            for match in filter(None, map(COMMIT.fullmatch, names)):
                files = list_commit_files(self.store, stage, match["shard"]).get(match["shard"])
                commit = read_winner(self.store, files) if files else None
                if commit and commit.generation == 0:
                    claim(self.store, commit)

    def _shards(self, paths: Collection[str], newest: Snapshot | None) -> pa.Table:
        """Commit the shards of damaged objects anew without what is lost. Returns the wordings whose rows must go."""
        shards: defaultdict[str, set[str]] = defaultdict(set)
        for path in paths:
            if path.startswith(tuple(f"{kind}/" for kind in DATA)):
                shards[shard_of(path)].add(path)
        dropped = [tables.WANTED.empty_table()]
        for shard_id, objects in shards.items():
            kept = self._commit_anew(shard_id, objects)
            rows = _rows_of_shards(newest, objects | {adapters_path(path) for path in objects})
            gone = rows.filter(pc.invert(tables.is_among(rows, kept)))
            self.documents |= set(gone["doc_id"].to_pylist())
            dropped.append(gone)
        return pa.concat_tables(dropped)

    def _commit_anew(self, shard_id: str, damaged: Collection[str]) -> pa.Table:
        """Commit a shard from its whole objects and adapters. Returns the wordings that are kept. A shard that has lost
        documents or augmentations is set apart whole."""
        nothing = tables.WANTED.empty_table()
        files = list_commit_files(self.store, Stage.adapters, shard_id).get(shard_id)
        commit = read_winner(self.store, files) if files else None
        if commit is None or any(path.startswith(("documents/", "augmentations/")) for path in damaged):
            for stage in Stage:
                for shard in list_commit_files(self.store, stage, shard_id).values():
                    for path in shard.candidates():
                        self._set_apart(path)
            return nothing
        attempt = new_attempt()
        written, kept = self._salvage(commit, attempt)
        others = [
            info
            for info in commit.objects
            if info.kind not in ("adapters", "rows") and info.path not in damaged
        ]
        objects = (*written, *others)
        claim(self.store, replace(commit, attempt=attempt, objects=objects, generation=commit.generation + 1))
        return kept

    def _salvage(self, commit: Commit, attempt: str) -> tuple[list[ObjectInfo], pa.Table]:
        """Write the adapters of a commit that are whole as new objects. Returns these, and the wordings."""
        kept: list[tuple[str, int, str]] = []

        def rows() -> Iterator[dict[str, Any]]:
            for info in commit.all("adapters"):
                for row in whole_rows(self.store, info.path):
                    kept.append((row["doc_id"], row["chunk"], row["content_hash"]))
                    yield row

        written = write_rows(self.store, commit.shard_id, attempt, rows())
        return written, tables.wanted_table(kept)

    def _rebuild(self) -> None:
        """Publish a snapshot from the commits alone: the corpus of the newest plan, less what any snapshot knows to be
        deleted."""
        known = Deletions()
        for names in list_published(self.store).written.values():
            for name in names:
                with suppress(BankError):
                    older = load(self.store, name).deletions
                    known = Deletions({**older.documents, **known.documents}, known.events | older.events)
        publish(self.store, Request(wanted=self._corpus(), rebuild=catch_up(self.store, known)))

    def _corpus(self) -> pa.Table:
        """The corpus of the newest run that has one; without a run everything that is committed."""
        for run in reversed(list_runs(self.store)):
            with suppress(BankError):
                data = read_run(self.store, run, "wanted.parquet")
                name = f"runs/{run}/wanted.parquet"
                return conform(tables.from_parquet(data, name), tables.WANTED, name)
        rows = [part.select(tables.WANTED.names) for some in read_committed(self.store) for part in some.rows]
        return pa.concat_tables([tables.WANTED.empty_table(), *rows])


def whole_rows(store: BankStore, path: str) -> Iterator[dict[str, Any]]:
    """Read the rows of an adapters object that are whole, by their own digests."""
    try:
        with store.fs.open(store.path(path), "rb") as file:
            parquet = pq.ParquetFile(file, page_checksum_verification=True, pre_buffer=False)
            check_columns(parquet.schema_arrow, tables.SCORED_ADAPTERS, path)
            for number in range(parquet.num_row_groups):
                with suppress(pa.ArrowException, OSError, ValueError):
                    for row in parquet.read_row_group(number).to_pylist():
                        if hashlib.sha256(row["value"]).hexdigest() == row["value_sha256"]:
                            yield row
    except (pa.ArrowException, OSError, ValueError, CorruptBankError):
        return


def _rows_of_shards(newest: Snapshot | None, objects: Collection[str]) -> pa.Table:
    """The wordings whose rows name one of these objects."""
    found = [tables.WANTED.empty_table()]
    for rows in (newest.read_part(part) for part in newest.parts) if newest else ():
        names = pa.array(sorted(objects), pa.string())
        columns = ("documents_object", "augmentations_object", "adapter_object")
        masks = [pc.is_in(rows[column].cast(pa.string()), names) for column in columns]
        found.append(rows.filter(pc.or_(pc.or_(masks[0], masks[1]), masks[2])).select(tables.WANTED.names))
    return pa.concat_tables(found)
