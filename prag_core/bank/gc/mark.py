"""Mark: find the files of a bank that something counts on. The others are left over, for `collect` to sweep."""

from __future__ import annotations

import json
import re
from collections.abc import Collection

from prag_core.bank.commits import Commit, list_all
from prag_core.bank.layout import (
    BANK_FILE,
    Stage,
    index_path,
    manifest_path,
    marker_path,
    retrieval_files,
    retrieval_folders,
    retrieval_marker,
)
from prag_core.bank.snapshot import Snapshot
from prag_core.bank.store import BankStore
from prag_core.errors import CorruptBankError
from prag_core.storage import read


def mark(store: BankStore, files: Collection[str], snapshots: Collection[Snapshot]) -> set[str]:
    """Paths that the bank's commits, these snapshots, the newest plan and the retrieval indexes of these snapshots name, and
    all files of runs. `files` are all files of the bank, listed before this is called."""
    names = {BANK_FILE, store.fields["initial"]["path"]}
    names |= {name for name in files if name.startswith("runs/")}
    committed = {stage: list_all(store, stage) for stage in Stage}
    for stage, commits in committed.items():
        for shard_id, commit in commits.items():
            names |= {marker_path(stage, shard_id), *(info.path for info in commit.objects)}
    for snapshot in snapshots:
        names |= {manifest_path(snapshot.name), index_path(snapshot.name), *snapshot.objects}
    names |= _planned_documents(store, files, committed[Stage.adapters])
    names |= _retrieval_indexes(store, files, {snapshot.name for snapshot in snapshots})
    return names


def _planned_documents(store: BankStore, files: Collection[str], committed: dict[str, Commit]) -> set[str]:
    """Documents that wait for their shard to be trained, by the newest run's plan: resuming reads them."""
    plans = sorted(name for name in files if re.fullmatch(r"runs/[^/]+/plan\.json", name))
    if not plans:
        return set()
    shards = json.loads(read(store.fs, store.path(plans[-1]))).get("shards", [])
    return {shard["documents_object"] for shard in shards if shard["shard_id"] not in committed}


def _retrieval_indexes(store: BankStore, files: Collection[str], snapshots: set[str]) -> set[str]:
    """Files of the retrieval indexes of these snapshots: those of the attempt that counts or, if its marker is damaged, all."""
    names: set[str] = set()
    for folder, snapshot in retrieval_folders(files).items():
        if snapshot not in snapshots:
            continue
        marker = retrieval_marker(folder)
        try:
            kept = retrieval_files(folder, store.read_sealed(marker)["attempt"])
        except CorruptBankError:
            kept = folder
        names |= {marker, *(name for name in files if name.startswith(f"{kept}/"))}
    return names
