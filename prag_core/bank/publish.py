"""Publishing a snapshot: the newest one with what was committed since, as the corpus of a run or as it was.

A publisher writes the parts of the catalog that change, then the manifest, then makes sure that none of its new parts is
condemned, and then claims the number. If the number is taken it starts again from the snapshot that has it. On a store where
two claims of one number can both succeed it looks once more afterwards: if another snapshot of its number is there, it
publishes again on top. Deletions are not part of this: they are in force before anything is published (`deletions`).
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import count
from typing import Any

import pyarrow as pa

from prag_core.bank import tables
from prag_core.bank.catalog import CATALOG, COMMITS, OBJECTS, Change, Part, merge
from prag_core.bank.committed import Committed, read_committed
from prag_core.bank.condemned import CondemnedError, check_safe
from prag_core.bank.deletions import Deletions, catch_up, now
from prag_core.bank.layout import (
    ObjectInfo,
    catalog_path,
    claim_copy_path,
    claim_path,
    manifest_path,
    new_attempt,
)
from prag_core.bank.published import FORMAT, list_published, on_newest
from prag_core.bank.sealed import seal
from prag_core.bank.snapshot import Snapshot, load, name_of
from prag_core.bank.store import BankStore
from prag_core.errors import BankError
from prag_core.storage import create_exclusive, is_local, put_whole, storage_errors

logger = logging.getLogger(__name__)
KINDS = {
    "documents": "documents_object",
    "augmentations": "augmentations_object",
    "adapters": "adapter_object",
}
MOST_ROUNDS = 50


@dataclass(frozen=True)
class Request:
    """What is to be published. `wanted`: the corpus, as rows of `tables.WANTED`; None leaves it as it is. `absorb`: take in
    what was committed since the newest snapshot. Of gc: wordings to be `erased`, and whether wordings that no run has published
    are `settled` to leave (see `catalog.Change`), and objects that no row names any more forgotten; `anew` takes a number
    though there is nothing to say. Of repair: wordings to be `dropped`, and the deletions of a snapshot that is to be `rebuild`
    from the commits alone."""

    wanted: pa.Table | None = None
    absorb: bool = True
    erased: pa.Table | None = None
    settled: bool = False
    dropped: pa.Table | None = None
    anew: bool = False
    rebuild: Deletions | None = None

    @property
    def prunes(self) -> bool:
        """Whether objects that no row names any more are forgotten."""
        return self.erased is not None or self.dropped is not None


def publish(store: BankStore, request: Request) -> Snapshot:
    """Publish the snapshot after the newest one. Returns the newest instead if it says the same already."""
    with storage_errors("writing", store.uri):
        for attempt in range(MOST_ROUNDS):
            round_ = partial(_round, store, request)
            snapshot, done = round_(None) if request.rebuild else on_newest(store, round_)
            request = replace(request, rebuild=None) if snapshot else request
            if snapshot and done:
                return snapshot
            time.sleep(random.random() * 0.05 * attempt)
    raise BankError(
        f"{store.uri}: {MOST_ROUNDS} snapshots in a row were overtaken by other runs; try again when they are done"
    )


def _round(store: BankStore, request: Request, name: str | None) -> tuple[Snapshot | None, bool]:
    """Write and claim a snapshot on top of the newest, which has this name. Returns what is the newest then, None if another took
    the number, and whether that is all."""
    newest = load(store, name) if name else None
    base = _stronger(store, newest) if newest else None
    snapshot = _write(store, base, request, counts=base is newest)
    return snapshot, snapshot is base or (snapshot is not None and _alone(store, snapshot))


def _stronger(store: BankStore, newest: Snapshot) -> Snapshot:
    """The snapshot to build on: the one that counts. Where the store let others claim its number too, one that says more than
    deletions comes before one that does not."""
    if newest.manifest.get("absorbed", True):
        return newest
    copies = list_published(store).copies.get(newest.number, ())
    others = [load(store, other) for other in copies if other != newest.name]
    return next((other for other in others if other.manifest["absorbed"]), newest)


def _write(store: BankStore, base: Snapshot | None, request: Request, *, counts: bool) -> Snapshot | None:
    """Write the next snapshot and claim its number. Returns `base` if it counts and there is nothing to say, None if the number
    was taken."""
    number = (base.number if base else list_published(store).newest) + 1
    known = base.deletions if base else catch_up(store, request.rebuild or Deletions())
    committed = Committed([], {}, [], [])  # but its rows, which are not kept
    absorb = request.absorb or base is None or base.is_old
    attempt = new_attempt()
    rows = _absorb(store, base, committed) if absorb else ()
    parts = _merge(store, base, request, rows, number, attempt)
    objects = _objects(store, base, committed, parts, prune=request.prunes)
    if (
        base
        and counts
        and not request.anew
        and not base.is_old
        and [part.info for part in parts] == [part.info for part in base.parts]
        and known.events == set(base.manifest["events"])
        and (objects is None or objects == base.objects)
    ):
        return base
    manifest = {
        "format": FORMAT,
        "number": number,
        "parent": base.name if base else None,
        "recipe_id": store.recipe.id,
        "created": now(),
        "absorbed": absorb,
        "parts": [part.to_json() for part in parts],
        "objects": _keep_objects(store, base, objects, attempt),
        "commits": _keep_commits(store, base, committed, attempt),
        **known.to_manifest(),
    }
    return _claim(store, manifest, attempt)


def _absorb(store: BankStore, base: Snapshot | None, committed: Committed) -> Iterator[pa.Table]:
    """Read the rows that were committed since `base`, some shards at a time; adds the rest of what was to `committed`."""
    for some in read_committed(store, base.commits if base else ()):
        for problem in some.damaged:
            logger.warning("%s; passed over: its documents are new for the next run", problem)
        committed.objects.update(some.objects)
        committed.commits.extend(some.commits)
        yield from (rows for rows in some.rows if rows.num_rows)


def _merge(
    store: BankStore,
    base: Snapshot | None,
    request: Request,
    rows: Iterable[pa.Table],
    number: int,
    attempt: str,
) -> list[Part]:
    """Merge rows that were committed into the catalog of `base`, and write the parts that change."""
    names = count()
    nothing = tables.WANTED.empty_table()
    change = Change(
        rows=rows,
        wanted=request.wanted,
        erased=nothing if request.erased is None else request.erased,
        dropped=nothing if request.dropped is None else request.dropped,
        deleted=base.deletions.documents if base else (),
        number=number,
        settled=request.settled,
    )
    if change.wanted is None and base and base.is_old:
        change = change._replace(wanted=_corpus_of_old(base))

    def write(rows: pa.Table) -> ObjectInfo:
        return store.write_table(catalog_path(attempt, str(next(names))), rows)

    return merge(base.parts if base else [], change, base.read_part if base else _no_part, write)


def _no_part(part: Part) -> pa.Table:
    raise AssertionError(f"there is no {part} before the first snapshot")


def _corpus_of_old(base: Snapshot) -> pa.Table:
    """The corpus of a snapshot of the old format. Its index leaves out what is deleted, its manifest says in which wordings."""
    rows = [
        (doc_id, *row) for doc_id, stone in base.manifest["deleted"].items() for row in stone.get("rows", ())
    ]
    return pa.concat_tables(
        [base.read_part(base.parts[0]).select(tables.WANTED.names), tables.wanted_table(rows)]
    )


def _objects(
    store: BankStore, base: Snapshot | None, committed: Committed, parts: Sequence[Part], *, prune: bool
) -> dict[str, ObjectInfo] | None:
    """The objects that the rows of a snapshot name, by path: those of the one before and of new commits; with `prune` only
    those that a row still names. None if they are those of the one before."""
    if base and not base.is_old and not committed.commits and not prune:
        return None
    objects = {**(base.objects if base else {}), **committed.objects}
    objects = {path: info for path, info in objects.items() if info.kind in KINDS}
    if not prune:
        return objects
    used: set[str | None] = set()
    for part in parts:
        rows = store.read_table(part.info, CATALOG)
        used.update(*(rows[column].cast(pa.string()).unique().to_pylist() for column in KINDS.values()))
    return {path: info for path, info in objects.items() if path in used}


def _keep_objects(
    store: BankStore, base: Snapshot | None, objects: dict[str, ObjectInfo] | None, attempt: str
) -> dict[str, Any]:
    """Keep the table of objects, unless it is that of `base`. Returns where it is."""
    if base and (objects is None or (not base.is_old and objects == base.objects)):
        return dict(base.manifest["objects"])
    rows = [asdict(info) for _, info in sorted((objects or {}).items())]
    return asdict(store.write_table(catalog_path(attempt, "objects"), pa.Table.from_pylist(rows, OBJECTS)))


def _keep_commits(
    store: BankStore, base: Snapshot | None, committed: Committed, attempt: str
) -> dict[str, Any]:
    """Keep the table of the commits that the catalog has taken in, unless there are no new ones. Returns where it is."""
    if base and not base.is_old and not committed.commits:
        return dict(base.manifest["commits"])
    known = {(commit.stage.value, commit.shard_id, commit.generation) for commit in committed.commits}
    rows = [
        dict(zip(COMMITS.names, row, strict=True))
        for row in sorted(known | (base.commits if base else set()))
    ]
    return asdict(store.write_table(catalog_path(attempt, "commits"), pa.Table.from_pylist(rows, COMMITS)))


def _claim(store: BankStore, manifest: dict[str, Any], attempt: str) -> Snapshot | None:
    """Write a manifest and claim its number. Returns None if the number was taken, or gc wants the new parts."""
    sealed = seal(manifest)
    number, name = manifest["number"], name_of(manifest["number"], sealed)
    put_whole(store.fs, store.path(manifest_path(name)), sealed)
    named = [fields["object"]["path"] for fields in manifest["parts"]]
    named += [manifest[table]["path"] for table in ("objects", "commits")]
    try:
        check_safe(
            store, [path for path in named if path.startswith(f"catalog/{attempt}-")], f"snapshot {name}"
        )
    except CondemnedError:
        return None
    claim = seal({"number": number, "name": name})
    if not create_exclusive(store.fs, store.path(claim_path(number)), claim):
        return None
    put_whole(store.fs, store.path(claim_copy_path(name)), claim)
    return load(store, name)


def _alone(store: BankStore, snapshot: Snapshot) -> bool:
    """Whether no other snapshot of its number was written, nor a newer one. A local folder excludes, so there it need not be
    asked."""
    if is_local(store.fs):
        return True
    published = list_published(store)
    return published.newest == snapshot.number and published.written.get(snapshot.number) == [snapshot.name]
