"""Mark: find the files of a bank that something refers to. The others are left over, for `collect` to sweep."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

import pyarrow.compute as pc

from prag_core.bank import tables
from prag_core.bank.commits import CommitFiles, decode_commit, list_commit_files
from prag_core.bank.condemned import Condemned
from prag_core.bank.initial_adapter import initial_object
from prag_core.bank.layout import (
    BANK_FILE,
    Stage,
    claim_copy_path,
    manifest_path,
    marker_path,
    retrieval_files,
    retrieval_folders,
    retrieval_marker,
)
from prag_core.bank.lease import LEASE_TIME
from prag_core.bank.published import list_published, newest_name, on_newest
from prag_core.bank.runs import PLAN_FILE, read_run_sealed
from prag_core.bank.snapshot import Snapshot, load
from prag_core.bank.store import BankStore
from prag_core.errors import BankError, CorruptBankError
from prag_core.storage import list_files, modified, read, read_many

Files = Mapping[str, dict[str, Any]]
KEPT = ("runs/", "deletions/", "condemned/", "published/")  # a number that was claimed is never free again
LEASE = re.compile(r"runs/([^/]+)/lease")
PLAN = re.compile(r"runs/([^/]+)/plan\.json")


def mark(
    store: BankStore,
    files: Files,
    before: datetime,
    now: datetime,
    condemned: Condemned,
    deleted: Collection[str] = (),
) -> set[str]:
    """Find what the bank refers to: commits that count with their objects, readable snapshots and those being published, plans of
    live runs and the newest plan, and the retrieval indexes of these snapshots.

    `files` are the bank's own files, listed before. A commit one of whose objects is missing or condemned keeps those that
    would stand in for it as well. A plan whose run is not alive keeps no object with documents that are `deleted`.
    """
    return on_newest(store, lambda _: _mark(store, files, before, now, condemned, deleted))


def _mark(
    store: BankStore,
    files: Files,
    before: datetime,
    now: datetime,
    condemned: Condemned,
    deleted: Collection[str],
) -> set[str]:
    names = {BANK_FILE, initial_object(store).path}
    names |= {name for name in files if name.startswith(KEPT)}
    names |= committed_files(store, files.keys() - condemned.files)
    snapshots = readable_snapshots(store, files, before)
    newest = newest_name(store)
    for snapshot in snapshots:
        try:
            names |= set(_files_of(snapshot))
        except CorruptBankError:
            if snapshot.name == newest:
                raise  # what it names is unknown: nothing may be removed
    names |= _planned_documents(store, files, now, deleted)
    names |= _retrieval_indexes(store, {snapshot.name for snapshot in snapshots})
    return names


def _files_of(snapshot: Snapshot) -> Iterator[str]:
    """A snapshot's own files, the parts of its catalog, and its objects."""
    yield from (manifest_path(snapshot.name), claim_copy_path(snapshot.name))
    yield from (part.info.path for part in snapshot.parts)
    if not snapshot.is_old:
        yield from (table.path for table in snapshot.catalog_tables)
    yield from snapshot.objects


def committed_files(store: BankStore, present: Collection[str]) -> set[str]:
    """Find the commits that count, with their objects, and those that would stand in for one whose objects are not all
    `present`. Damaged ones are passed over."""
    names: set[str] = set()
    for stage in Stage:
        shards = list(list_commit_files(store, stage).values())
        contents = _read_first(store, shards)
        for shard in shards:
            names |= set(_commit_and_objects(store, shard, contents, present))
    return names


def _read_first(store: BankStore, shards: Sequence[CommitFiles]) -> dict[str, bytes]:
    """Read the first commit of every shard at once; none if one of them cannot be read."""
    paths = [next(shard.candidates()) for shard in shards]
    try:
        return dict(zip(paths, read_many(store.fs, [store.path(path) for path in paths]), strict=True))
    except FileNotFoundError:
        return {}


def _commit_and_objects(
    store: BankStore, shard: CommitFiles, contents: Mapping[str, bytes], present: Collection[str]
) -> Iterator[str]:
    """A shard's commit files and objects, of its candidates up to the first that is whole. The marker always stays."""
    for path in shard.candidates():
        try:
            data = contents[path] if path in contents else read(store.fs, store.path(path))
            commit = decode_commit(store, data, path)
        except (FileNotFoundError, CorruptBankError):
            yield path  # for verify and repair to name
            continue
        missing = [info.path for info in commit.objects if info.path not in present]
        if missing and path == commit.path and not all(store.fs.exists(store.path(name)) for name in missing):
            continue  # its writer died while its objects were cleared away
        yield from (path, commit.path, *(info.path for info in commit.objects))
        if not missing:
            break
    if shard.marked:
        yield marker_path(shard.stage, shard.shard_id)


def readable_snapshots(store: BankStore, files: Files, before: datetime) -> list[Snapshot]:
    """The newest snapshot, those superseded after `before`, and those that may be published yet."""
    published = list_published(store)
    newest = newest_name(store, published)
    number = int(newest.split("-")[0]) if newest else 0
    kept = [name for n, names in published.written.items() if n >= number for name in names]
    numbers = sorted((n for n in published.written if n <= number), reverse=True)
    for later, earlier in pairwise(numbers):
        if any(is_young(files, name, before) for name in published.written[later]):
            kept += published.written[earlier]
    loaded = []
    for name in kept:
        try:
            loaded.append(load(store, name))
        except CorruptBankError:
            if name == newest:
                raise  # what it names is unknown: nothing may be removed
    return loaded


def is_young(files: Files, snapshot: str, before: datetime) -> bool:
    """Whether a snapshot was written after `before`, by the store's clock, or after the listing."""
    info = files.get(manifest_path(snapshot))
    return info is None or modified(info) > before


def live_runs(files: Files, now: datetime) -> set[str]:
    """Runs that have renewed their lease lately."""
    leases = {match[1]: info for name, info in files.items() if (match := LEASE.fullmatch(name))}
    return {run for run, info in leases.items() if modified(info) > now - LEASE_TIME}


def _planned_documents(store: BankStore, files: Files, now: datetime, deleted: Collection[str]) -> set[str]:
    """Documents that wait for their shard to be trained, by the plans of live runs and the newest plan: resuming reads them.
    All of them if a plan is damaged. Where a document has been deleted and the run is not alive, the next plan takes the
    shard's other documents from the corpus again."""
    runs, live = sorted(match[1] for name in files if (match := PLAN.fullmatch(name))), live_runs(files, now)
    committed = set(list_commit_files(store, Stage.adapters))
    names: set[str] = set()
    for run in {*runs[-1:], *(live & set(runs))}:
        try:
            plan = read_run_sealed(store, run, PLAN_FILE)
            waiting = {s["documents_object"] for s in plan["shards"] if s["shard_id"] not in committed}
        except (BankError, KeyError, TypeError):
            return {name for name in files if name.startswith("documents/")}
        if deleted and run not in live:
            waiting = {path for path in waiting & files.keys() if not _has_any(store, path, deleted)}
        names |= waiting
    return names


def _has_any(store: BankStore, documents_object: str, doc_ids: Collection[str]) -> bool:
    """Whether an object has rows of some of these documents."""
    try:
        rows = store.read_table(documents_object, tables.WANTED)
    except BankError:
        return False  # damaged, or gone since the listing
    return bool(pc.any(tables.has_doc_id(rows, doc_ids)).as_py())


def _retrieval_indexes(store: BankStore, snapshots: set[str]) -> set[str]:
    """Files of the retrieval indexes of these snapshots: those of the attempt that counts or, if its marker is damaged, all.
    They are listed anew, for the markers written since files were condemned."""
    files = [f"indexes/{name}" for name in list_files(store.fs, store.path("indexes"))]
    names: set[str] = set()
    for folder, snapshot in retrieval_folders(files).items():
        if snapshot not in snapshots:
            continue
        marker = retrieval_marker(folder)
        try:
            kept = retrieval_files(folder, store.read_sealed(marker)["attempt"])
        except (CorruptBankError, FileNotFoundError, KeyError):
            kept = folder
        names |= {marker, *(name for name in files if name.startswith(f"{kept}/"))}
    return names
