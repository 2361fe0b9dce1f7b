"""Collect garbage: erase deleted documents, then sweep files that nothing names.

Nothing is touched before the grace period: not a deleted document's bytes (the deletion can be lifted until then), not a
snapshot that a server may still be reading, not an object that a running job may be about to commit. A deletion is thus final
after two runs: the first rewrites the shards without the document and publishes a snapshot of them, the second sweeps the
objects that only older snapshots named. With a grace of zero one run does both. Run one gc at a time.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from prag_core.bank.delete import same_corpus
from prag_core.bank.gc.erase import erase, shards_holding
from prag_core.bank.gc.mark import mark
from prag_core.bank.publish import publish
from prag_core.bank.snapshot import Snapshot, latest, load_all
from prag_core.bank.store import BankStore
from prag_core.storage import abort_upload, list_files, list_uploads, modified, remove, storage_errors

GRACE = timedelta(hours=24)


@dataclass(frozen=True, kw_only=True)
class GcReport:
    """What a gc did, or would do in a dry run. Files are paths within the bank with their bytes."""

    dry_run: bool
    erased: tuple[str, ...]  # deleted documents whose rows were erased
    rewritten: tuple[str, ...]  # shards that held them
    removed: dict[str, int]
    waiting: dict[str, int]  # files that nothing names, but within the grace period
    uploads: tuple[str, ...]  # unfinished uploads that were aborted


def gc(store: BankStore, grace: timedelta = GRACE, dry_run: bool = True) -> GcReport:
    """Erase and sweep whatever has outlived the grace period. With `dry_run` nothing changes, and `removed` does not yet count
    the files that erasing would leave behind."""
    with storage_errors("clearing", store.uri):
        before = datetime.now(UTC) - grace if grace > timedelta(0) else datetime.max.replace(tzinfo=UTC)
        erased = _erasable(latest(store), before)
        rewritten = shards_holding(store, erased) if erased else []
        if erased and not dry_run:
            for shard_id in rewritten:
                erase(store, shard_id, erased)
            publish(store, same_corpus, restored=erased)
        removed, waiting = _sweep(store, before, dry_run)
        return GcReport(
            dry_run=dry_run,
            erased=tuple(sorted(erased)),
            rewritten=tuple(rewritten),
            removed=removed,
            waiting=waiting,
            uploads=tuple(_sweep_uploads(store, before, dry_run)),
        )


def _erasable(newest: Snapshot | None, before: datetime) -> set[str]:
    """Documents deleted no later than `before`."""
    deleted = newest.deleted if newest else {}
    return {doc_id for doc_id, stone in deleted.items() if datetime.fromisoformat(stone["at"]) <= before}


def _sweep(store: BankStore, before: datetime, dry_run: bool) -> tuple[dict[str, int], dict[str, int]]:
    """Remove files that nothing names. Lists first and marks afterwards, so that a file that is named in between is kept.
    Returns the removed files and those that are too young, with their bytes."""
    files = list_files(store.fs, store.root)
    marked = mark(store, files.keys(), _readable(load_all(store), before))
    removed: dict[str, int] = {}
    waiting: dict[str, int] = {}
    for name, info in sorted(files.items()):
        if name not in marked:
            group = removed if modified(info) <= before else waiting
            group[name] = int(info.get("size") or 0)
    if not dry_run:
        remove(store.fs, store.root, _manifests_first(removed))
    return removed, waiting


def _readable(snapshots: Sequence[Snapshot], before: datetime) -> list[Snapshot]:
    """The newest snapshot, and those that were superseded after `before`. Takes and returns them newest first."""
    superseded = zip(snapshots[1:], snapshots, strict=False)
    young = [old for old, new in superseded if datetime.fromisoformat(new.manifest["created"]) > before]
    return [*snapshots[:1], *young]


def _manifests_first(names: Collection[str]) -> list[str]:
    """Sort so that a snapshot or index disappears before the files that it names."""
    return sorted(names, key=lambda name: (not name.endswith(("manifest.json", "index.json")), name))


def _sweep_uploads(store: BankStore, before: datetime, dry_run: bool) -> list[str]:
    """Abort unfinished uploads that began before `before`. Returns their paths."""
    stale = [upload for upload in list_uploads(store.fs, store.root) if upload.started <= before]
    for upload in stale if not dry_run else []:
        abort_upload(store.fs, upload)
    return [upload.path for upload in stale]
