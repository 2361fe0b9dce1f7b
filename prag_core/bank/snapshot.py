"""A snapshot: the documents that make up the corpus, and where the bytes of each lie. Written once, whole, never changed.

`snapshots/<number>-<digest>/manifest.json` (sealed) names the index, the data objects with their digests, the counts and
the documents that were deleted; `index.parquet` has one row a document, sorted by (doc_id, chunk). Everything read through a
snapshot is checked against the digests it carries.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from prag_core.bank import tables
from prag_core.bank.layout import MANIFEST, ObjectInfo, index_path, manifest_path
from prag_core.bank.sealed import unseal
from prag_core.bank.store import BankStore
from prag_core.errors import BankError, CorruptBankError
from prag_core.records import Augmentation, Document, Failure, Key
from prag_core.storage import list_files, read, storage_errors

BULK = 2000  # keys from which one scan is quicker than a search for each
TOGETHER = 16  # objects that are read at once


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
    """A fixed, complete view of a bank. The index is read when first needed. Pickles without it."""

    def __init__(self, store: BankStore, name: str, manifest: dict[str, Any]) -> None:
        self.store, self.name, self.manifest = store, name, manifest

    def __reduce__(self) -> tuple[Any, ...]:
        return Snapshot, (self.store, self.name, self.manifest)

    @property
    def number(self) -> int:
        return int(self.name.split("-")[0])

    @property
    def digest(self) -> str:
        return self.name.split("-")[1]

    @property
    def counts(self) -> dict[str, int]:
        """Documents by status: adapter, text_only, failed, deleted."""
        return {status: self.manifest["counts"].get(status, 0) for status in (*tables.STATUSES, "deleted")}

    @property
    def deleted(self) -> dict[str, dict[str, Any]]:
        """Deleted doc_ids, each with the time of its deletion and the (chunk, content_hash) pairs that it had."""
        return dict(self.manifest["deleted"])

    @cached_property
    def objects(self) -> dict[str, ObjectInfo]:
        """The data objects this snapshot rests on, by path."""
        return {fields["path"]: ObjectInfo(**fields) for fields in self.manifest["objects"]}

    @cached_property
    def index(self) -> pa.Table:
        """One row a document (columns of `tables.INDEX`), sorted by (doc_id, chunk). Raises CorruptBankError if damaged."""
        index = self.store.read_tables([ObjectInfo(**self.manifest["index"])])[0].combine_chunks()
        if "score" not in index.column_names:  # written before there were exams
            index = index.append_column("score", pa.nulls(index.num_rows, pa.float64()))
        return index

    def lookup(self, keys: Collection[Key]) -> dict[Key, Entry]:
        """Look up keys. Those that the snapshot does not have are left out."""
        numbers = self._search(keys) if len(keys) < BULK else self._scan(keys)
        entries = (Entry(**row) for row in self.index.take(pa.array(numbers, pa.int64())).to_pylist())
        return {entry.key: entry for entry in entries}

    def _search(self, keys: Collection[Key]) -> list[int]:
        if not self.index.num_rows:
            return []
        doc_ids, chunks = (self.index[name].chunk(0) for name in ("doc_id", "chunk"))
        numbers = []
        for key in set(keys):
            row = bisect_left(range(len(doc_ids)), key, key=lambda i: (doc_ids[i].as_py(), chunks[i].as_py()))
            if row < len(doc_ids) and (doc_ids[row].as_py(), chunks[row].as_py()) == key:
                numbers.append(row)
        return numbers

    def _scan(self, keys: Collection[Key]) -> list[int]:
        doc_ids, chunks = zip(*keys, strict=True)
        asked = pa.table({"doc_id": pa.array(doc_ids, pa.string()), "chunk": pa.array(chunks, pa.int32())})
        return np.flatnonzero(tables.is_among(self.index, asked, ["doc_id", "chunk"]).to_numpy()).tolist()

    def keys_of(self, doc_ids: Collection[str]) -> list[Key]:
        """List the keys of these documents: one for every chunk that the snapshot has of them."""
        rows = self.index.select(["doc_id", "chunk"])
        return [
            (row["doc_id"], row["chunk"]) for row in rows.filter(tables.has_doc_id(rows, doc_ids)).to_pylist()
        ]

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
        for table, rows in zip(self.store.read_tables(infos), wanted.values(), strict=True):
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
        column = "documents_object"
        rows = self.index.select([*tables.WANTED.names, column])
        if rows[column].null_count:
            first = rows.filter(rows[column].is_null())["doc_id"][0]
            raise BankError(
                f"snapshot {self.name}: no documents were kept for {first}; its shard was committed without them"
            )
        members = tables.group_rows(rows[column])
        objects = sorted(members)
        for number in range(0, len(objects), TOGETHER):
            batch = objects[number : number + TOGETHER]
            contents = self.store.read_tables([self._object(path) for path in batch])
            for path, table in zip(batch, contents, strict=True):
                yield rows.take(pa.array(members[path])), table

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


def list_names(store: BankStore) -> list[str]:
    """List the names of all whole snapshots, the one that counts first."""
    files = list_files(store.fs, store.path("snapshots"))
    matches = [MANIFEST.fullmatch(f"snapshots/{name}") for name in files]
    names = [(-int(match[2]), match[3], match[1]) for match in matches if match]
    return [name for *_, name in sorted(names)]


def name_of(number: int, sealed: bytes) -> str:
    """Name of a snapshot: its number and the digest of its sealed manifest."""
    return f"{number:08d}-{hashlib.sha256(sealed).hexdigest()[:16]}"


def load(store: BankStore, name: str) -> Snapshot:
    """Load a snapshot by reading its manifest. Raises CorruptBankError if it is damaged."""
    path = store.path(manifest_path(name))
    data = read(store.fs, path)
    manifest = unseal(data, path)
    if name_of(manifest["number"], data) != name:
        raise CorruptBankError(f"{path} is the manifest of another snapshot; restore it from a copy")
    manifest["index"]["path"] = index_path(name)
    return Snapshot(store, name, manifest)


def load_all(store: BankStore) -> list[Snapshot]:
    """Load every snapshot, newest first."""
    with storage_errors("reading", store.uri):
        return [load(store, name) for name in list_names(store)]


def latest(store: BankStore) -> Snapshot | None:
    """Load the snapshot with the highest number and, among equals, the smallest digest. None before the first."""
    with storage_errors("reading", store.uri):
        names = list_names(store)
        return load(store, names[0]) if names else None


def require(store: BankStore) -> Snapshot:
    """Load the newest snapshot. Raises BankError, saying what to run, before the first."""
    newest = latest(store)
    if newest is None:
        raise BankError(f"{store.uri} has no snapshot yet; run prag parameterize bank.uri={store.uri}")
    return newest
