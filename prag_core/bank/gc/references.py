"""Which of a bank's files are named by something that counts; the others are left over from attempts that did not."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import TYPE_CHECKING

from prag_core.bank.commits import Commit, list_all
from prag_core.bank.layout import BANK_FILE, Stage, marker_path, unseal
from prag_core.bank.snapshot import Snapshot, index_path, manifest_path
from prag_core.errors import CorruptBankError
from prag_core.storage import read

if TYPE_CHECKING:
    from prag_core.bank.bank import Bank

INDEX = re.compile(r"indexes/(\d+-[0-9a-f]+)-[^/]+/")


def referenced(bank: Bank, files: Collection[str], snapshots: Collection[Snapshot]) -> set[str]:
    """Of all `files` of a bank (listed before this is called), those that its markers, these snapshots, the newest plan and the
    retrieval indexes of these snapshots name. Files of runs all count."""
    names = {BANK_FILE, bank.fields["initial"]["path"]}
    names |= {name for name in files if name.startswith("runs/")}
    committed = {stage: list_all(bank, stage) for stage in Stage}
    for stage, commits in committed.items():
        for shard_id, commit in commits.items():
            names |= {marker_path(stage, shard_id), *(info.path for info in commit.objects)}
    for snapshot in snapshots:
        names |= {manifest_path(snapshot.name), index_path(snapshot.name), *snapshot.objects}
    names |= _planned(bank, files, committed[Stage.adapters])
    names |= _of_indexes(bank, files, {snapshot.name for snapshot in snapshots})
    return names


def _planned(bank: Bank, files: Collection[str], committed: dict[str, Commit]) -> set[str]:
    """Documents that wait for their shard to be trained, by the newest run's plan: resuming reads them."""
    plans = sorted(name for name in files if re.fullmatch(r"runs/[^/]+/plan\.json", name))
    if not plans:
        return set()
    shards = json.loads(read(bank.fs, bank.path(plans[-1]))).get("shards", [])
    return {shard["documents_object"] for shard in shards if shard["shard_id"] not in committed}


def _of_indexes(bank: Bank, files: Collection[str], snapshots: set[str]) -> set[str]:
    """Files of whole retrieval indexes; of a damaged one, all."""
    names: set[str] = set()
    for marker in [name for name in files if name.startswith("indexes/") and name.endswith("/index.json")]:
        match, folder = INDEX.match(marker), marker.rsplit("/", 1)[0]
        if match is None or match[1] not in snapshots:
            continue
        try:
            prefix = f"{folder}/{unseal(read(bank.fs, bank.path(marker)), marker)['attempt']}/"
        except CorruptBankError:
            prefix = f"{folder}/"
        names |= {marker, *(name for name in files if name.startswith(prefix))}
    return names
