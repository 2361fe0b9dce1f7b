"""A snapshot: the documents that make up the corpus, and where the bytes of each lie. Written once, whole, never changed.

`snapshots/<number>-<digest>/manifest.json` (sealed) names the parts of the catalog, the tables of data objects with their
digests and of commits, the counts, and the deletions that were known. Deletions that came later are added when a snapshot is
loaded: it never shows a document that was deleted before. Everything read through a snapshot is checked against the digests it
carries. Manifests of format 1, with one index and the objects in the manifest itself, are read as well.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from prag_core.bank import tables
from prag_core.bank.catalog import CATALOG, COMMITS, OBJECTS, Part, checked_counts, count_current
from prag_core.bank.deletions import Deletion, Deletions, catch_up
from prag_core.bank.layout import (
    ObjectInfo,
    index_path,
    manifest_path,
)
from prag_core.bank.published import FORMAT, list_names, on_newest
from prag_core.bank.sealed import MOST_BYTES, once_more, unseal
from prag_core.bank.spool import Spool
from prag_core.bank.store import BankStore
from prag_core.errors import BankError, CorruptBankError
from prag_core.records import Augmentation, Document, Failure, Key
from prag_core.storage import read, storage_errors

SEARCH_COST = 20  # rows that a scan looks at in the time of one search
TOGETHER = 16  # objects that are read at once
MEMBERS_READ = 1 << 12  # rows that are read at once of those that wait on the disk


class Place(NamedTuple):
    """Bytes [start, end) of an object."""

    path: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One document in a snapshot: its content hash, and where its adapter lies. A quarantined one has a stage and a reason
    instead; one that is text_only has both: an adapter, and the reason not to use it."""

    doc_id: str
    chunk: int
    content_hash: str
    status: Literal["adapter", "text_only", "failed"]
    documents_object: str | None
    augmentations_object: str | None
    adapter_object: str | None
    start: int | None
    length: int | None
    sha256: str | None
    tier: str | None
    stage: str | None
    reason: str | None
    attempts: int | None
    score: float | None = None  # of its adapter's exam

    @property
    def key(self) -> Key:
        return (self.doc_id, self.chunk)

    @property
    def place(self) -> Place:
        """Where its adapter lies. Only for entries that have one, accepted or not."""
        assert self.adapter_object is not None and self.start is not None and self.length is not None
        return Place(self.adapter_object, self.start, self.start + self.length)

    @property
    def unusable(self) -> str | None:
        """Reason this document's adapter cannot be merged, safe to show to API callers; None if it can."""
        if self.status == "adapter":
            return None
        if self.status == "text_only":
            return f"text_only: {self.reason}"
        return f"quarantined at {self.stage}: {self.reason}"


class Snapshot:
    """A fixed, complete view of a bank. Parts of the catalog are read when first needed. Pickles without them."""

    def __init__(
        self, store: BankStore, name: str, manifest: dict[str, Any], deletions: Deletions | None = None
    ) -> None:
        self.store, self.name, self.manifest = store, name, manifest
        self.deletions = deletions or Deletions.of_manifest(manifest)
        self._visible: dict[str, pa.Table] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return Snapshot, (self.store, self.name, self.manifest, self.deletions)

    @property
    def number(self) -> int:
        return int(self.name.split("-")[0])

    @property
    def digest(self) -> str:
        return self.name.split("-")[1]

    def overtook(self, before: str | None) -> str | None:
        """Name of the snapshot that another command published after `before`, the newest of that time, and that this one was made
        from. None if there is none."""
        parent = self.manifest.get("parent")
        return None if before in (self.name, parent) else parent

    @property
    def _where(self) -> str:
        return self.store.path(manifest_path(self.name))

    def _info(self, name: str) -> ObjectInfo:
        """An object that the manifest names."""
        return ObjectInfo.from_fields(self.manifest[name], self._where)

    @property
    def catalog_tables(self) -> tuple[ObjectInfo, ObjectInfo]:
        """The tables of its objects and of its commits. Older manifests have none."""
        return self._info("objects"), self._info("commits")

    @property
    def is_old(self) -> bool:
        """Whether it has the format of before there were parts and claims."""
        return "parts" not in self.manifest

    @cached_property
    def counts(self) -> dict[str, int]:
        """Documents by status: adapter, text_only, failed, deleted."""
        gone = self.rows_of(self.deletions.documents) if self.deletions.documents else CATALOG.empty_table()
        counts = [sum(column) for column in zip(*(part.counts for part in self.parts), strict=True)] or [
            0
        ] * 3
        left = [count - hidden for count, hidden in zip(counts, count_current(gone), strict=True)]
        return dict(zip(tables.STATUSES, left, strict=True)) | {"deleted": len(self.deletions.documents)}

    @property
    def deleted(self) -> dict[str, Deletion]:
        """Deleted doc_ids, each with the time and the events of its deletion."""
        return dict(self.deletions.documents)

    @cached_property
    def parts(self) -> list[Part]:
        """The parts of the catalog, by ranges of doc_id."""
        if self.is_old:
            counts = self.manifest["counts"]
            known = checked_counts([counts.get(status, 0) for status in tables.STATUSES])
            return [Part("", self._info("index"), known)]
        return [Part.from_json(fields, self._where) for fields in self.manifest["parts"]]

    @cached_property
    def objects(self) -> dict[str, ObjectInfo]:
        """The data objects this snapshot rests on, by path."""
        rows = self.manifest["objects"]
        if isinstance(rows, dict):
            rows = self.store.read_table(self._info("objects"), OBJECTS).to_pylist()
        return {info.path: info for info in (ObjectInfo.from_fields(fields, self._where) for fields in rows)}

    @cached_property
    def commits(self) -> frozenset[tuple[str, str, int]]:
        """The commits this snapshot's catalog has taken in: (stage, shard, generation). Older manifests do not say."""
        if "commits" not in self.manifest:
            return frozenset()
        table = self.store.read_table(self._info("commits"), COMMITS)
        return frozenset(zip(*(column.to_pylist() for column in table.columns), strict=True))

    def read_part(self, part: Part) -> pa.Table:
        """Read a part whole, in columns of the catalog. Raises CorruptBankError if it is damaged."""
        return self.store.read_table(part.info, CATALOG).combine_chunks()

    def visible_parts(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Read the index part by part, and keep none. Raises CorruptBankError if one is damaged."""
        for part in self.parts:
            yield self._read_visible(part).select(columns)

    @cached_property
    def index(self) -> pa.Table:
        """One row a document (columns of `tables.INDEX`), sorted by (doc_id, chunk). Reads all parts. Raises CorruptBankError
        if one is damaged."""
        parts = [self._visible_rows(part) for part in self.parts]
        return pa.concat_tables([tables.INDEX.empty_table(), *parts]).unify_dictionaries()

    def _visible_rows(self, part: Part) -> pa.Table:
        """The documents of a part. Kept once they were read."""
        if part.info.path not in self._visible:
            self._visible[part.info.path] = self._read_visible(part)
        return self._visible[part.info.path]

    def _read_visible(self, part: Part) -> pa.Table:
        """The current rows of a part, less those of documents that are deleted."""
        rows = self.read_part(part)
        rows = rows.filter(rows["current"]).select(tables.INDEX.names)
        if self.deletions.documents:
            rows = rows.filter(pc.invert(tables.has_doc_id(rows, self.deletions.documents)))
        return rows.combine_chunks()

    def _parts_of(self, doc_ids: Collection[str]) -> dict[Part, list[str]]:
        """The parts that hold these documents, if any do, each with its share of them."""
        firsts = [part.first for part in self.parts]
        shares: defaultdict[Part, list[str]] = defaultdict(list)
        for doc_id in sorted(set(doc_ids)) if firsts else ():
            shares[self.parts[max(0, bisect_right(firsts, doc_id) - 1)]].append(doc_id)
        return shares

    def rows_of(self, doc_ids: Collection[str]) -> pa.Table:
        """The catalog's rows of these documents, in every wording, deleted or not. Reads the parts they belong to."""
        found = [CATALOG.empty_table()]
        for part, share in self._parts_of(doc_ids).items():
            rows = self.read_part(part)
            found.append(rows.filter(tables.has_doc_id(rows, share)))
        return pa.concat_tables(found)

    def lookup(self, keys: Collection[Key]) -> dict[Key, Entry]:
        """Look up keys. Those that the snapshot does not have are left out."""
        asked: defaultdict[str, set[Key]] = defaultdict(set)
        for key in keys:
            asked[key[0]].add(key)
        entries: dict[Key, Entry] = {}
        for part, doc_ids in self._parts_of(asked).items():
            rows = self._visible_rows(part)
            wanted = {key for doc_id in doc_ids for key in asked[doc_id]}
            numbers = (
                _search(rows, wanted) if len(wanted) * SEARCH_COST < rows.num_rows else _scan(rows, wanted)
            )
            for row in rows.take(pa.array(numbers, pa.int64())).to_pylist():
                entry = Entry(**row)
                entries[entry.key] = entry
        return entries

    def keys_of(self, doc_ids: Collection[str]) -> list[Key]:
        """List the keys of these documents: one for every chunk that the snapshot has of them."""
        keys: list[Key] = []
        for part, share in self._parts_of(doc_ids).items():
            rows = self._visible_rows(part).select(["doc_id", "chunk"])
            found = rows.filter(tables.has_doc_id(rows, share)).to_pylist()
            keys += [(row["doc_id"], row["chunk"]) for row in found]
        return keys

    def documents(self) -> Iterator[Document]:
        """Read every document of the snapshot, quarantined ones too, object by object."""
        for rows, table in self._documents_by_object():
            yield from tables.documents_of(_matching(table, rows))

    def augmentations(self, keys: Collection[Key]) -> dict[Key, Augmentation]:
        """Read the augmentations of documents. Those that have none are left out."""
        return self.augmentations_at(self.lookup(keys).values())

    def augmentations_at(self, entries: Collection[Entry]) -> dict[Key, Augmentation]:
        """Read the augmentations of entries, without looking at the index."""
        augmentations: dict[Key, Augmentation] = {}
        wanted: defaultdict[str, set[tuple[str, int, str]]] = defaultdict(set)
        for entry in entries:
            if entry.augmentations_object:
                wanted[entry.augmentations_object].add((*entry.key, entry.content_hash))
        infos = [self._object(path) for path in wanted]
        for table, rows in zip(
            self.store.read_tables(infos, tables.AUGMENTATIONS), wanted.values(), strict=True
        ):
            for augmentation in tables.augmentations_of(_matching(table, tables.wanted_table(rows))):
                augmentations[augmentation.key] = augmentation
        return augmentations

    @property
    def failures(self) -> list[Failure]:
        """The quarantined documents, with stage and reason."""
        failed = self.index.filter(pc.equal(self.index["status"].cast(pa.string()), "failed"))
        return list(tables.failures_of(failed.select(tables.FAILURES.names)))

    def _documents_by_object(self) -> Iterator[tuple[pa.Table, pa.Table]]:
        """Read each documents object, in order of path: the keys of its rows in this snapshot, and its table."""
        column, objects = "documents_object", set[str]()
        members = Spool(column, MEMBERS_READ)
        for rows in self.visible_parts([*tables.WANTED.names, column]):
            if rows[column].null_count:
                first = rows.filter(rows[column].is_null())["doc_id"][0]
                raise BankError(
                    f"snapshot {self.name}: no documents were kept for {first}; its shard was committed without them"
                )
            paths = rows[column].cast(pa.string())
            objects.update(paths.unique().to_pylist())
            members.add(rows.set_column(rows.num_columns - 1, column, paths))
        ordered = sorted(objects)
        ends = [*ordered[1:], None]
        for number in range(0, len(ordered), TOGETHER):
            batch = slice(number, number + TOGETHER)
            infos = [self._object(path) for path in ordered[batch]]
            contents = self.store.read_tables(infos, tables.DOCUMENTS)
            for end, table in zip(ends[batch], contents, strict=True):
                yield pa.concat_tables(members.take_until(end)), table

    def _object(self, path: str) -> ObjectInfo:
        try:
            return self.objects[path]
        except KeyError:
            raise CorruptBankError(
                f"snapshot {self.name} names {path} without its digest; run prag bank verify"
            ) from None


def _matching(table: pa.Table, rows: pa.Table) -> pa.Table:
    """The rows of `table` whose key and content hash are among `rows`, in their own order."""
    return table.filter(tables.is_among(table, rows))


def _search(rows: pa.Table, keys: Collection[Key]) -> list[int]:
    """Find keys by bisection: the numbers of their rows."""
    doc_ids, chunks = (rows[name].combine_chunks() for name in ("doc_id", "chunk"))
    numbers = []
    for key in keys:
        row = bisect_left(range(len(doc_ids)), key, key=lambda i: (doc_ids[i].as_py(), chunks[i].as_py()))
        if row < len(doc_ids) and (doc_ids[row].as_py(), chunks[row].as_py()) == key:
            numbers.append(row)
    return numbers


def _scan(rows: pa.Table, keys: Collection[Key]) -> list[int]:
    """Find keys by looking at every row once: the numbers of their rows."""
    pairs = zip(rows["doc_id"].to_pylist(), rows["chunk"].to_pylist(), strict=True)
    return [number for number, key in enumerate(pairs) if key in keys]


def name_of(number: int, sealed: bytes) -> str:
    """Name of a snapshot: its number and the digest of its sealed manifest."""
    return f"{number:08d}-{hashlib.sha256(sealed).hexdigest()[:16]}"


def load(store: BankStore, name: str) -> Snapshot:
    """Load a snapshot by reading its manifest, and the deletions since. Raises CorruptBankError if it is damaged or missing."""
    return once_more(lambda: _load(store, name))


def _load(store: BankStore, name: str) -> Snapshot:
    path = store.path(manifest_path(name))
    try:
        with storage_errors("reading", store.uri):
            data = read(store.fs, path, MOST_BYTES + 1)
    except FileNotFoundError:
        raise CorruptBankError(
            f"{path} is missing: the snapshot was published and its manifest is lost; run prag bank repair {store.uri}"
        ) from None
    manifest = unseal(data, path)
    number = manifest.get("number")
    if type(number) is not int or name_of(number, data) != name:
        raise CorruptBankError(f"{path} is the manifest of another snapshot; restore it from a copy")
    if manifest.get("format", 1) not in range(1, FORMAT + 1):
        raise BankError(
            f"{path} has format {manifest['format']}, this version reads {FORMAT}; use the version that wrote it"
        )
    try:
        if "index" in manifest:
            manifest["index"]["path"] = index_path(name)
        snapshot = Snapshot(store, name, manifest)
        _ = snapshot.parts, snapshot.objects if snapshot.is_old else snapshot.catalog_tables
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorruptBankError(f"{path} is no manifest that this version can read: {error}") from None
    snapshot.deletions = catch_up(store, snapshot.deletions)
    return snapshot


def load_all(store: BankStore) -> list[Snapshot]:
    """Load every published snapshot, newest first."""
    with storage_errors("reading", store.uri):
        return [load(store, name) for name in list_names(store)]


def latest(store: BankStore) -> Snapshot | None:
    """Load the snapshot that counts. None before the first. Raises CorruptBankError if it is lost or damaged."""
    with storage_errors("reading", store.uri):
        return on_newest(store, lambda name: load(store, name) if name else None)


def require(store: BankStore) -> Snapshot:
    """Load the newest snapshot. Raises BankError, saying what to run, before the first."""
    newest = latest(store)
    if newest is None:
        raise BankError(f"{store.uri} has no snapshot yet; run prag parameterize bank.uri={store.uri}")
    return newest
