"""Collect garbage: erase deleted documents and wordings that have left, then sweep files that nothing refers to.

Nothing is touched before the grace period, by the store's own clock: not a deleted document's bytes (the deletion can be
lifted until then), not a snapshot that a server may still be reading. Whatever the clocks say, nothing is removed that the
bank refers to: gc writes down what it wants to remove before it looks (see `condemned`). Several may run at once. A deletion
is final after two runs: the first rewrites the shards without the document and publishes a snapshot of them, the second
sweeps the objects that only older snapshots named. With a grace of zero, which must be forced, one run does both. The last
hour's unfinished files stay.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from prag_core.bank import tables
from prag_core.bank.condemned import Condemned, condemn, drop_records, read_condemned
from prag_core.bank.deletions import list_events, write_event
from prag_core.bank.gc.erase import erase, find_orphans, resettle, shards_holding
from prag_core.bank.gc.mark import Files, committed_files, is_young, live_runs, mark
from prag_core.bank.layout import is_own, new_attempt
from prag_core.bank.publish import Request, publish
from prag_core.bank.published import list_published, newest_name, on_newest
from prag_core.bank.snapshot import Snapshot, latest, load
from prag_core.bank.store import BankStore
from prag_core.errors import BankError
from prag_core.storage import (
    TEMPORARY,
    abort_upload,
    list_files,
    list_uploads,
    modified,
    put_whole,
    remove,
    storage_errors,
)

GRACE = timedelta(hours=24)
SHORTEST = timedelta(hours=1)  # a grace below this must be forced
FIRST_TO_GO = ("manifest.json", "published.json", "index.json", "commits/")


@dataclass(frozen=True, kw_only=True)
class GcReport:
    """What a gc did, or would do in a dry run. Files are paths within the bank with their bytes."""

    dry_run: bool
    erased: tuple[str, ...]  # deleted documents whose rows were erased
    freed: int  # wordings that were replaced, or whose document left the corpus, erased too
    rewritten: tuple[str, ...]  # shards that held them
    removed: dict[str, int]
    waiting: dict[str, int]  # files that nothing refers to, but within the grace period
    uploads: tuple[str, ...]  # unfinished uploads that were aborted
    overtook: str | None = (
        None  # the last snapshot that another command published meanwhile and a later one of gc was made from
    )


class _Publisher:
    """Publishes the snapshots of one gc. `overtook`: see `GcReport`."""

    def __init__(self, store: BankStore, newest: Snapshot | None) -> None:
        self.store, self.newest = store, newest.name if newest else None
        self.overtook: str | None = None

    def publish(self, request: Request) -> None:
        snapshot = publish(self.store, request)
        self.overtook = snapshot.overtook(self.newest) or self.overtook
        self.newest = snapshot.name


@dataclass(frozen=True)
class Erasable:
    """What may be erased: deleted documents, with all their wordings, and wordings that are not current. Wordings are rows of
    `tables.WANTED`."""

    doc_ids: frozenset[str]
    deleted: pa.Table
    wordings: pa.Table


def gc(store: BankStore, grace: timedelta = GRACE, dry_run: bool = True, *, force: bool = False) -> GcReport:
    """Erase and sweep whatever has outlived the grace period. With `dry_run` nothing changes, and `removed` does not yet count
    the files that erasing would leave behind. Raises BankError for a grace under an hour, unless `force`."""
    if grace < SHORTEST and not force:
        raise BankError(
            f"a grace of {grace} may take files from runs and servers that are at work; leave it at an hour or more, "
            "or force it (--force) when nothing else uses the bank"
        )
    with storage_errors("clearing", store.uri):
        now = datetime.now(UTC) if dry_run else store_time(store)
        before = now - grace if grace > timedelta(0) else datetime.max.replace(tzinfo=UTC)
        files = own_files(store)
        newest = latest(store)
        publisher = _Publisher(store, newest)
        if newest and not dry_run:
            idle = _is_idle(files, now - max(grace, SHORTEST), now)
            publisher.publish(Request(erased=tables.WANTED.empty_table(), settled=idle))
            _leave_behind(publisher, files, before)
        erasable = on_newest(
            store, lambda name: find_erasable(store, load(store, name) if name else None, files, before)
        )
        rewritten = shards_holding(store, erasable.doc_ids, erasable.wordings)
        due = rewritten or erasable.deleted.num_rows or erasable.wordings.num_rows
        if due and not dry_run:
            _erase(publisher, erasable, rewritten)
        if not dry_run:
            on_newest(store, lambda name: _resettle(publisher, name))
        removed, waiting = _sweep(store, before, now, erasable.doc_ids, dry_run)
        return GcReport(
            dry_run=dry_run,
            erased=tuple(
                sorted(erasable.doc_ids if rewritten else set(erasable.deleted["doc_id"].to_pylist()))
            ),
            freed=erasable.wordings.num_rows,
            rewritten=tuple(rewritten),
            removed=removed,
            waiting=waiting,
            uploads=tuple(_sweep_uploads(store, before, dry_run)),
            overtook=publisher.overtook,
        )


def store_time(store: BankStore) -> datetime:
    """What time it is by the clock of the store: that of a file just written. Other machines' clocks may be wrong."""
    name = f"{TEMPORARY}{new_attempt()}"
    put_whole(store.fs, store.path(f"condemned/{name}"), b"")
    try:
        return modified(list_files(store.fs, store.path("condemned"), name)[name])
    finally:
        remove(store.fs, store.root, [f"condemned/{name}"])


def own_files(store: BankStore) -> Files:
    """List the files that the bank has written. Others under its root are not its business."""
    return {name: info for name, info in list_files(store.fs, store.root).items() if is_own(name)}


def _leave_behind(publisher: _Publisher, files: Files, before: datetime) -> None:
    """Publish numbers until no snapshot that was written long ago and lost its number, or never claimed one, may count yet."""
    for _ in range(2):  # one that was written for the next number is behind after two
        published = list_published(publisher.store)
        late = [name for n, names in published.written.items() if n >= published.newest for name in names]
        counts = newest_name(publisher.store, published)
        if any(name != counts and not is_young(files, name, before) for name in late):
            publisher.publish(Request(anew=True))


def _is_idle(files: Files, before: datetime, now: datetime) -> bool:
    """Whether every run has been quiet since `before`, so that what none has published may leave."""
    runs = [info for name, info in files.items() if name.startswith("runs/")]
    return bool(runs) and not live_runs(files, now) and all(modified(info) <= before for info in runs)


def find_erasable(store: BankStore, newest: Snapshot | None, files: Files, before: datetime) -> Erasable:
    """Find what was deleted, replaced, or left the corpus no later than `before`."""
    if newest is None:
        return Erasable(frozenset(), tables.WANTED.empty_table(), tables.WANTED.empty_table())
    written = list_events(store)
    long_deleted = [
        doc_id
        for doc_id, deletion in newest.deleted.items()
        if min(written.get(event) or datetime.fromisoformat(deletion.at) for event in deletion.events)
        <= before
    ]
    deleted = newest.rows_of(long_deleted).select(tables.WANTED.names)
    recent = {
        number
        for number, names in list_published(store).written.items()
        if any(is_young(files, name, before) for name in names)
    }
    wordings = [tables.WANTED.empty_table()]
    for part in newest.parts:
        rows = newest.read_part(part)
        left = pc.and_not(
            pc.is_valid(rows["left"]), pc.is_in(rows["left"], pa.array(sorted(recent), pa.int64()))
        )
        gone = pc.and_(pc.invert(rows["current"]), left)
        wordings.append(rows.filter(gone).select(tables.WANTED.names))
    return Erasable(frozenset(long_deleted), deleted, pa.concat_tables(wordings))


def _erase(publisher: _Publisher, erasable: Erasable, shards: Collection[str]) -> None:
    """Rewrite shards without what is erasable, and publish a snapshot of what they are now. A deletion that is lifted meanwhile
    is either seen here, or sees that erasing has begun."""
    store, doc_ids = publisher.store, erasable.doc_ids
    if doc_ids:
        write_event(store, "erase", doc_ids)
        newest = latest(store)
        assert newest is not None
        doc_ids = doc_ids & newest.deleted.keys()
    for shard_id in shards:
        erase(store, shard_id, doc_ids, erasable.wordings)
    publisher.publish(Request(erased=pa.concat_tables([erasable.wordings, erasable.deleted])))


def _resettle(publisher: _Publisher, name: str | None) -> None:
    """Commit anew what came back while it was being erased, whoever erased it and whenever."""
    if name is None:
        return
    store = publisher.store
    snapshot = load(store, name)
    committed = committed_files(store, own_files(store).keys() - read_condemned(store).files)
    if orphans := find_orphans(store, snapshot, committed):
        resettle(store, snapshot, orphans)
        publisher.publish(Request(erased=tables.WANTED.empty_table()))


def _sweep(
    store: BankStore, before: datetime, now: datetime, deleted: Collection[str], dry_run: bool
) -> tuple[dict[str, int], dict[str, int]]:
    """Remove files that nothing refers to: list, write down which shall go, look what is referred to, and only then remove.
    Returns the removed files and those that are too young, with their bytes."""
    files = own_files(store)
    left_over = files.keys() - mark(store, files, before, now, read_condemned(store), deleted)
    waiting = {name for name in left_over if modified(files[name]) > _spared_from(name, before, now)}
    old = left_over - waiting
    if old and not dry_run:
        record = condemn(store, old)
        condemned = read_condemned(store)
        others = Condemned({name: of for name, of in condemned.records.items() if name != record})
        old -= mark(store, files, before, now, others, deleted)
        remove(store.fs, store.root, sorted(old, key=_order))
        drop_records(store, [record])
        _drop_finished(store, others)
    sizes = {name: int(files[name].get("size") or 0) for name in sorted(left_over)}
    return (
        {name: size for name, size in sizes.items() if name in old},
        {name: size for name, size in sizes.items() if name in waiting},
    )


def _spared_from(name: str, before: datetime, now: datetime) -> datetime:
    """The time since which a file was written that is too young to go. An unfinished one may be somebody's at work, who could not
    finish it: no grace makes that shorter than SHORTEST."""
    return min(before, now - SHORTEST) if TEMPORARY in name else before


def _order(name: str) -> tuple[bool, str]:
    """Sort so that what refers to files goes before them."""
    return not (name.startswith(FIRST_TO_GO) or name.endswith(FIRST_TO_GO)), name


def _drop_finished(store: BankStore, condemned: Condemned) -> None:
    """Drop the records of other gcs, killed or alive, of whose files none is left."""
    files = own_files(store)
    drop_records(store, [name for name, of in condemned.records.items() if not of & files.keys()])


def _sweep_uploads(store: BankStore, before: datetime, dry_run: bool) -> list[str]:
    """Abort unfinished uploads of the bank's own files that began before `before`. Returns their paths."""
    stale = [
        upload
        for upload in list_uploads(store.fs, store.root)
        if upload.started <= before and is_own(upload.path.removeprefix(f"{store.root}/"))
    ]
    for upload in stale if not dry_run else []:
        abort_upload(store.fs, upload)
    return [upload.path for upload in stale]
