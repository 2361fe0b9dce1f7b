"""Erase rows from committed shards: new objects without them, then a commit of the next generation that names those.

The old objects stay until nothing refers to them any more; `collect` sweeps them after the grace period. Two that erase at once
write two commits of one generation: both are whole, and one of them wins.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from prag_core.bank import tables
from prag_core.bank.catalog import CATALOG
from prag_core.bank.commits import Commit, claim, find, list_all
from prag_core.bank.layout import ObjectInfo, Stage, attempt_of, new_attempt, object_path, shard_of
from prag_core.bank.reader import raw_rows
from prag_core.bank.snapshot import Snapshot
from prag_core.bank.store import BankStore
from prag_core.bank.writer import write_rows


def shards_holding(store: BankStore, doc_ids: Collection[str], wordings: pa.Table) -> list[str]:
    """Find the shards with a committed object that has rows of these documents, or of these wordings of others."""
    if not doc_ids and not wordings.num_rows:
        return []
    trained, augmented = list_all(store, Stage.adapters), list_all(store, Stage.augmentations)
    objects = {(shard_id, info) for shard_id, commit in trained.items() for info in commit.all("rows")}
    for shard_id, commit in (*augmented.items(), *trained.items()):
        objects |= {(shard_id, info) for info in (*commit.all("documents"), *commit.all("failures"))}
    for shard_id in augmented.keys() - trained.keys():
        objects |= {(shard_id, info) for info in augmented[shard_id].objects}
    shards, goes = set(), Goes(doc_ids, wordings)
    for shard_id, info in sorted(objects, key=lambda item: item[1].path):
        if shard_id not in shards and pc.any(goes.mask(store.read_table(info, tables.WANTED))).as_py():
            shards.add(shard_id)
    return sorted(shards)


class Goes:
    """Which rows go when a shard is rewritten: those of these documents, and of these wordings; or, `but`, all others."""

    def __init__(self, doc_ids: Collection[str], wordings: pa.Table, *, but: bool = False) -> None:
        self.doc_ids, self.wordings, self.but = doc_ids, wordings, but
        columns = (wordings[name].to_pylist() for name in tables.WANTED.names)
        self._wordings = set(zip(*columns, strict=True))

    def mask(self, rows: pa.Table) -> pa.ChunkedArray:
        """Whether each row goes."""
        named = pc.or_(tables.has_doc_id(rows, self.doc_ids), tables.is_among(rows, self.wordings))
        return pc.invert(named) if self.but else named

    def row(self, row: Mapping[str, Any]) -> bool:
        """Whether a row goes."""
        wording = tuple(row[name] for name in tables.WANTED.names)
        return (row["doc_id"] in self.doc_ids or wording in self._wordings) != self.but


def erase(store: BankStore, shard_id: str, doc_ids: Collection[str], wordings: pa.Table) -> None:
    """Commit a shard anew, as its next generation, from objects without rows of these documents and wordings."""
    rewriter = _Rewriter(store, shard_id, Goes(doc_ids, wordings))
    for stage in Stage:
        commit = find(store, stage, shard_id)
        if commit is None:
            continue
        objects = rewriter.all(commit.objects)
        attempt = rewriter.attempts[commit.attempt]
        claim(store, Commit(stage, shard_id, attempt, objects, commit.generation + 1))


def find_orphans(store: BankStore, snapshot: Snapshot, committed: Collection[str]) -> dict[str, pa.Table]:
    """Find the documents objects that only the catalog names and no commit (`committed`: all that commits name), and that hold
    more than the catalog's rows: each with those rows. A rewriting does not reach them. Their documents came back, restored or
    in the corpus again, after it had begun to erase them."""
    paths = sorted(path for path in snapshot.objects.keys() - committed if path.startswith("documents/"))
    rows = [CATALOG.empty_table()]
    for part in snapshot.parts if paths else ():
        of_part = snapshot.read_part(part)
        named = pc.is_in(of_part["documents_object"].cast(pa.string()), pa.array(paths, pa.string()))
        rows.append(of_part.filter(named))
    found = pa.concat_tables(rows)
    groups = tables.group_rows(found["documents_object"])
    orphans = {path: found.take(pa.array(numbers)) for path, numbers in groups.items()}
    held = dict(
        zip(
            orphans,
            store.read_tables([snapshot.objects[path] for path in orphans], tables.WANTED),
            strict=True,
        )
    )
    return {
        path: rows for path, rows in orphans.items() if not pc.all(tables.is_among(held[path], rows)).as_py()
    }


def resettle(store: BankStore, snapshot: Snapshot, orphans: Mapping[str, pa.Table]) -> None:
    """Commit the rows of orphans anew, in shards of their own. Without this the objects would stay for their sake, with all that
    was erased from the catalog."""
    kinds = {
        "documents": "documents_object",
        "augmentations": "augmentations_object",
        "adapters": "adapter_object",
    }
    for old, part in orphans.items():
        shard_id = f"-{shard_of(old)[:40]}-{new_attempt()}"  # its name sorts first: of two rows of a wording it counts
        rewriter = _Rewriter(store, shard_id, Goes((), part.select(tables.WANTED.names), but=True))
        named = {path for kind in kinds.values() for path in part[kind].cast(pa.string()).to_pylist() if path}
        objects = [*rewriter.all([snapshot.objects[path] for path in sorted(named)])]
        attempt = new_attempt()
        failed = part.filter(pc.equal(part["status"].cast(pa.string()), "failed"))
        if failed.num_rows:
            failures = failed.select(tables.FAILURES.names).cast(tables.FAILURES)
            objects.append(store.write_table(object_path("failures", shard_id, attempt), failures))
        written = [info for info in objects if info.kind in ("documents", "augmentations")]
        claim(store, Commit(Stage.augmentations, shard_id, attempt, tuple(written)))
        claim(store, Commit(Stage.adapters, shard_id, attempt, tuple(objects)))


class _Rewriter:
    """Rewrites objects into a shard, each once. `attempts`: the attempts that wrote them → those that replace them."""

    def __init__(self, store: BankStore, shard_id: str, goes: Goes) -> None:
        self.store, self.shard_id, self.goes = store, shard_id, goes
        self.attempts: defaultdict[str, str] = defaultdict(new_attempt)
        self._rewritten: dict[str, list[ObjectInfo]] = {}

    def all(self, infos: Iterable[ObjectInfo]) -> tuple[ObjectInfo, ...]:
        """The objects that replace some: of each none if nothing is left of it. An adapters object brings its rows object
        along."""
        for info in infos:
            if info.path not in self._rewritten:
                self._rewritten[info.path] = self._rewrite(info)
        return tuple(dict.fromkeys(new for info in infos for new in self._rewritten[info.path]))

    def _rewrite(self, info: ObjectInfo) -> list[ObjectInfo]:
        attempt = self.attempts[attempt_of(info.path)]
        if info.kind == "rows":
            return []
        if info.kind == "adapters":
            kept_rows = (row for row in raw_rows(self.store, info.path) if not self.goes.row(row))
            return write_rows(self.store, self.shard_id, attempt, kept_rows)
        table = self.store.read_table(info)
        kept = table.filter(pc.invert(self.goes.mask(table)))
        if not kept.num_rows:
            return []
        return [self.store.write_table(object_path(info.kind, self.shard_id, attempt), kept)]
