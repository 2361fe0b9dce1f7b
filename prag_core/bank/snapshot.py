"""A snapshot: which documents make up the corpus now, and where the bytes of each lie. Written once, whole, never changed.

`snapshots/<number>-<digest>/manifest.json` (sealed) names the index, the data objects with their digests, the counts and
the documents that were deleted; `index.parquet` has one row a document, sorted by (doc_id, chunk). Everything read through a
snapshot is checked against the digests it carries.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from prag_core.bank import tables
from prag_core.bank.layout import ObjectInfo, unseal
from prag_core.errors import BankError, CorruptBankError
from prag_core.records import Augmentation, Document, Failure, Key
from prag_core.storage import list_files, read

if TYPE_CHECKING:
    from prag_core.bank.bank import Bank

NAME = re.compile(r"(\d{8,})-([0-9a-f]{16})/manifest\.json")
BULK = 2000  # keys from which one scan is quicker than a search for each


@dataclass(frozen=True, slots=True)
class Entry:
    """One document in a snapshot: its wording, and where its adapter lies (None for one set aside, with stage and reason; one
    that is text_only has both: an adapter, and why that is not to be used)."""

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
    def unusable(self) -> str | None:
        """Why it has no adapter to merge, as whoever asks may know it; None where it has one."""
        if self.status == "adapter":
            return None
        return (
            f"text_only: {self.reason}"
            if self.status == "text_only"
            else f"set aside at {self.stage}: {self.reason}"
        )


class Snapshot:
    """A view of one corpus in a bank. The index is read when first needed. Pickles without it."""

    def __init__(self, bank: Bank, name: str, manifest: dict[str, Any]) -> None:
        self.bank, self.name, self.manifest = bank, name, manifest

    def __reduce__(self) -> tuple[Any, ...]:
        return Snapshot, (self.bank, self.name, self.manifest)

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
        """Deleted doc_ids, each with when and the (chunk, content_hash) pairs it stood for."""
        return dict(self.manifest["deleted"])

    @cached_property
    def objects(self) -> dict[str, ObjectInfo]:
        """The data objects this snapshot rests on, by path."""
        return {fields["path"]: ObjectInfo(**fields) for fields in self.manifest["objects"]}

    @cached_property
    def index(self) -> pa.Table:
        """One row a document (columns of `tables.INDEX`), sorted by (doc_id, chunk). Raises CorruptBankError if damaged."""
        index = self.bank.read_tables([ObjectInfo(**self.manifest["index"])])[0].combine_chunks()
        if "score" not in index.column_names:  # written before there were exams
            index = index.append_column("score", pa.nulls(index.num_rows, pa.float64()))
        return index

    def lookup(self, keys: Collection[Key]) -> dict[Key, Entry]:
        """The entries of those keys that the snapshot has."""
        numbers = self._search(keys) if len(keys) < BULK else self._scan(keys)
        entries = (Entry(**row) for row in self.index.take(pa.array(numbers, pa.int64())).to_pylist())
        return {entry.key: entry for entry in entries}

    def _search(self, keys: Collection[Key]) -> list[int]:
        if not self.index.num_rows:
            return []
        doc_ids, chunks = (self.index[name].chunk(0) for name in ("doc_id", "chunk"))
        found = []
        for key in set(keys):
            row = bisect_left(range(len(doc_ids)), key, key=lambda i: (doc_ids[i].as_py(), chunks[i].as_py()))
            if row < len(doc_ids) and (doc_ids[row].as_py(), chunks[row].as_py()) == key:
                found.append(row)
        return found

    def _scan(self, keys: Collection[Key]) -> list[int]:
        doc_ids, chunks = zip(*keys, strict=True)
        asked = pa.table({"doc_id": pa.array(doc_ids, pa.string()), "chunk": pa.array(chunks, pa.int32())})
        return np.flatnonzero(tables.is_among(self.index, asked, ["doc_id", "chunk"]).to_numpy()).tolist()

    def keys_of(self, doc_ids: Collection[str]) -> list[Key]:
        """Every chunk that the snapshot has of these documents."""
        rows = self.index.select(["doc_id", "chunk"])
        return [
            (row["doc_id"], row["chunk"]) for row in rows.filter(tables.has_doc_id(rows, doc_ids)).to_pylist()
        ]

    def documents(self) -> Iterator[Document]:
        """Every document of the snapshot, with an adapter or set aside, object by object."""
        for _, rows, table in self._rows_by_object("documents_object"):
            yield from tables.documents_of(_matching(table, rows))

    def augmentations(self, keys: Collection[Key]) -> dict[Key, Augmentation]:
        """What was written about those documents that the snapshot has an augmentation of."""
        return self.augmentations_at(self.lookup(keys).values())

    def augmentations_at(self, entries: Collection[Entry]) -> dict[Key, Augmentation]:
        """The same for entries at hand, without the index."""
        found: dict[Key, Augmentation] = {}
        wanted: defaultdict[str, set[tuple[str, int, str]]] = defaultdict(set)
        for entry in entries:
            if entry.augmentations_object:
                wanted[entry.augmentations_object].add((*entry.key, entry.content_hash))
        infos = [self._object(path) for path in wanted]
        for table, rows in zip(self.bank.read_tables(infos), wanted.values(), strict=True):
            asked = pa.Table.from_pylist(
                [dict(zip(tables.WANTED.names, row, strict=True)) for row in rows], tables.WANTED
            )
            found |= {
                augmentation.key: augmentation
                for augmentation in tables.augmentations_of(_matching(table, asked))
            }
        return found

    @property
    def failures(self) -> list[Failure]:
        """The documents that were set aside, with stage and reason."""
        failed = self.index.filter(pc.equal(self.index["status"].cast(pa.string()), "failed")).select(
            tables.FAILURES.names
        )
        return list(tables.failures_of(failed))

    def _rows_by_object(self, column: str) -> Iterator[tuple[str, pa.Table, pa.Table]]:
        """Each object of a column with the keys of its rows and its table, in order of path; the next ones are being read."""
        rows = self.index.select([*tables.WANTED.names, column])
        if rows[column].null_count:
            first = rows.filter(rows[column].is_null())["doc_id"][0]
            raise BankError(
                f"snapshot {self.name}: no documents were kept for {first}; its shard was committed without them"
            )
        members = tables.group_rows(rows[column])
        objects = sorted(members)
        for start in range(0, len(objects), 16):
            batch = objects[start : start + 16]
            found = self.bank.read_tables([self._object(path) for path in batch])
            for path, table in zip(batch, found, strict=True):
                yield path, rows.take(pa.array(members[path])), table

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


def list_names(bank: Bank) -> list[str]:
    """Names of all whole snapshots, the one that counts first."""
    found = (NAME.fullmatch(name) for name in list_files(bank.fs, bank.path("snapshots")))
    names = [(-int(match[1]), match[2], f"{match[1]}-{match[2]}") for match in found if match]
    return [name for *_, name in sorted(names)]


def name_of(number: int, sealed: bytes) -> str:
    """A snapshot's name: its number and the digest of its sealed manifest."""
    return f"{number:08d}-{hashlib.sha256(sealed).hexdigest()[:16]}"


def manifest_path(name: str) -> str:
    return f"snapshots/{name}/manifest.json"


def index_path(name: str) -> str:
    return f"snapshots/{name}/index.parquet"


def load(bank: Bank, name: str) -> Snapshot:
    """Read a snapshot's manifest. Raises CorruptBankError if it is damaged."""
    path = bank.path(manifest_path(name))
    data = read(bank.fs, path)
    manifest = unseal(data, path)
    if name_of(manifest["number"], data) != name:
        raise CorruptBankError(f"{path} is the manifest of another snapshot; restore it from a copy")
    manifest["index"]["path"] = index_path(name)
    return Snapshot(bank, name, manifest)
