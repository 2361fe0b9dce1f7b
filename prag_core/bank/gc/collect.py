"""Clearing away: bytes of deleted documents, attempts that did not count, snapshots that were superseded.

Nothing is touched before the grace period: not a deleted document's bytes (the deletion can be lifted until then), not a
snapshot that a server may still be reading, not an object that a running job may be about to commit. A deletion is thus final
after two runs: the first rewrites the shards without the document and publishes a snapshot of them, the second sweeps what
only the older snapshots named. With a grace of zero one run does both. Run one gc at a time.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from prag_core.bank.delete import same_corpus
from prag_core.bank.gc.erase import erase, shards_holding
from prag_core.bank.gc.references import referenced
from prag_core.bank.publish import publish
from prag_core.bank.snapshot import Snapshot
from prag_core.storage import abort_upload, list_files, list_uploads, modified, remove, storage_errors

if TYPE_CHECKING:
    from prag_core.bank.bank import Bank

GRACE = timedelta(hours=24)


@dataclass(frozen=True)
class GcReport:
    """What a gc did, or would do in a dry run. Files are paths within the bank with their bytes; `waiting` are still in grace."""

    dry_run: bool
    erased: tuple[str, ...]  # deleted documents whose rows were rewritten away
    rewritten: tuple[str, ...]  # shards that held them
    removed: dict[str, int]
    waiting: dict[str, int]
    uploads: tuple[str, ...]  # unfinished uploads given up


def gc(bank: Bank, grace: timedelta = GRACE, dry_run: bool = True) -> GcReport:
    """Erase and sweep what has outlived the grace period. With `dry_run` nothing changes, and `removed` does not yet count
    what erasing would leave behind."""
    with storage_errors("clearing", bank.uri):
        before = datetime.now(UTC) - grace if grace > timedelta(0) else datetime.max.replace(tzinfo=UTC)
        erased = _erasable(bank.latest_snapshot(), before)
        rewritten = shards_holding(bank, erased) if erased else []
        if erased and not dry_run:
            for shard_id in rewritten:
                erase(bank, shard_id, erased)
            publish(bank, same_corpus, restored=erased)
        removed, waiting = _sweep(bank, before, dry_run)
        uploads = _sweep_uploads(bank, before, dry_run)
        return GcReport(dry_run, tuple(sorted(erased)), tuple(rewritten), removed, waiting, tuple(uploads))


def _erasable(newest: Snapshot | None, before: datetime) -> set[str]:
    stones = newest.deleted if newest else {}
    return {doc_id for doc_id, stone in stones.items() if datetime.fromisoformat(stone["at"]) <= before}


def _sweep(bank: Bank, before: datetime, dry_run: bool) -> tuple[dict[str, int], dict[str, int]]:
    """Listed first, judged after: what is named in between is kept."""
    files = list_files(bank.fs, bank.root)
    named = referenced(bank, files.keys(), _kept(bank.snapshots(), before))
    removed: dict[str, int] = {}
    waiting: dict[str, int] = {}
    for name, info in sorted(files.items()):
        if name not in named:
            (removed if modified(info) <= before else waiting)[name] = int(info.get("size") or 0)
    if not dry_run:
        remove(bank.fs, bank.root, _manifests_first(removed))
    return removed, waiting


def _kept(snapshots: Sequence[Snapshot], before: datetime) -> list[Snapshot]:
    """The newest, and those that were superseded within the grace period (newest first, as given)."""
    later = zip(snapshots[1:], snapshots, strict=False)
    return [
        *snapshots[:1],
        *(old for old, new in later if datetime.fromisoformat(new.manifest["created"]) > before),
    ]


def _manifests_first(names: Collection[str]) -> list[str]:
    """A snapshot or index disappears before what it names does."""
    return sorted(names, key=lambda name: (not name.endswith(("manifest.json", "index.json")), name))


def _sweep_uploads(bank: Bank, before: datetime, dry_run: bool) -> list[str]:
    stale = [upload for upload in list_uploads(bank.fs, bank.root) if upload.started <= before]
    for upload in stale if not dry_run else []:
        abort_upload(bank.fs, upload)
    return [upload.path for upload in stale]
