"""Reading adapters: by key through a snapshot (one ranged request each), or a whole object row by row."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from prag_core.bank import tables
from prag_core.bank.codec import decode, encoded_size
from prag_core.bank.columns import check_columns
from prag_core.bank.layout import LARGEST
from prag_core.bank.names import OBJECT, checked
from prag_core.bank.snapshot import Entry, Place, Snapshot
from prag_core.bank.store import BankStore
from prag_core.errors import BankError, CorruptBankError
from prag_core.records import Adapter, AdapterFactors, Key
from prag_core.storage import patience, read_ranges, storage_errors

LARGE = 1 << 20  # bytes of an adapter from which several are checked at once, in threads
PATIENCE = 10.0  # seconds that a store is waited for: somebody waits for the answer


class AdapterReader:
    """Reads the adapters of one snapshot. Keeps nothing but the snapshot's index."""

    def __init__(self, store: BankStore, snapshot: Snapshot) -> None:
        self.store, self.snapshot = store, snapshot

    def fetch(self, keys: Collection[Key]) -> dict[Key, AdapterFactors]:
        """Read the factors of every key, float32, in the order of `keys`: one concurrent ranged request each, digests checked.

        Raises BankError naming keys that the snapshot has no adapter of, CorruptBankError naming object and doc_id when bytes
        are damaged or missing.
        """
        return read_factors(self.store, self.entries(keys))

    def entries(self, keys: Collection[Key]) -> list[Entry]:
        """The entries of these keys, in their order, each once, whether the adapter was accepted or not. Raises BankError for
        keys without an adapter."""
        entries = self.snapshot.lookup(keys)
        unique = list(dict.fromkeys(keys))
        missing = [key for key in unique if key not in entries or entries[key].adapter_object is None]
        if missing:
            names = ", ".join(show_key(*key) for key in missing[:5]) + ("…" if len(missing) > 5 else "")
            raise BankError(f"{self.store.uri}: snapshot {self.snapshot.name} has no adapter of {names}")
        return [entries[key] for key in unique]


def read_factors(store: BankStore, entries: Sequence[Entry]) -> dict[Key, AdapterFactors]:
    """Read the adapters at `entries`, float32: one concurrent ranged request each, digests checked. Raises CorruptBankError
    naming object and doc_id when bytes are damaged or missing."""
    found, wrong = _read_intact(store, entries)
    if wrong:  # a network may garble what lies there well: once more before the verdict
        again, wrong = _read_intact(store, wrong)
        found |= again
    if wrong:
        raise CorruptBankError(_describe_damage(store, wrong[0]))
    return {entry.key: found[entry.key] for entry in entries}


def _read_intact(store: BankStore, entries: Sequence[Entry]) -> tuple[dict[Key, AdapterFactors], list[Entry]]:
    """Read adapters once: those whose bytes are right, and the entries of the others."""
    values = _read_values(store, entries)
    if len(entries) == 1 or max(map(len, values), default=0) < LARGE:
        factors = list(map(_decode, repeat(store), entries, values))
    else:
        with ThreadPoolExecutor(min(len(entries), os.cpu_count() or 1)) as pool:
            factors = list(pool.map(_decode, repeat(store), entries, values))
    pairs = list(zip(entries, factors, strict=True))
    return {entry.key: f for entry, f in pairs if f is not None}, [entry for entry, f in pairs if f is None]


def read_usable(
    store: BankStore, entries: Sequence[Entry]
) -> tuple[dict[Key, AdapterFactors], dict[Key, str]]:
    """Read the adapters at `entries` that can be read, and the reasons of the damaged ones. Reads all at once, and one by one
    only if that fails, to lose no more than the damaged ones."""
    try:
        return read_factors(store, entries), {}
    except CorruptBankError:
        factors: dict[Key, AdapterFactors] = {}
        damaged: dict[Key, str] = {}
        for entry in entries:
            try:
                factors |= read_factors(store, [entry])
            except CorruptBankError as error:
                damaged[entry.key] = str(error)
        return factors, damaged


def _read_values(store: BankStore, entries: Sequence[Entry]) -> list[bytes]:
    places = [_place(store, entry) for entry in entries]
    paths = [store.path(place.path) for place in places]
    try:
        with storage_errors("reading", store.uri), patience(PATIENCE):
            return read_ranges(
                store.fs, paths, [place.start for place in places], [place.end for place in places]
            )
    except FileNotFoundError as error:
        raise CorruptBankError(f"{error.filename} is missing; run prag bank verify") from None


def _place(store: BankStore, entry: Entry) -> Place:
    """Where an adapter lies. Raises CorruptBankError for a place that no adapter of the bank has."""
    where = f"{store.uri}: the snapshot's index"
    place = entry.place
    checked(place.path, OBJECT, where)
    if not (
        0 <= place.start <= LARGEST and place.end - place.start == encoded_size(store.layout, entry.tier)
    ):
        raise CorruptBankError(
            f"{where} gives the adapter of {show_key(*entry.key)} a place that it cannot have; run prag bank verify"
        )
    return place


def _decode(store: BankStore, entry: Entry, value: bytes) -> AdapterFactors | None:
    """Decode an adapter. None when the bytes are not those that were written."""
    if hashlib.sha256(value).hexdigest() != entry.sha256:
        return None
    return decode(value, store.layout, str(entry.tier))


def _describe_damage(store: BankStore, entry: Entry) -> str:
    path, name = store.path(entry.place.path), show_key(*entry.key)
    return f"{path} is damaged at the adapter of {name}; run prag bank verify"


def show_key(doc_id: str, chunk: int) -> str:
    """A document's key as messages show it."""
    return f"{doc_id[:80]!r} chunk {chunk}"


def read_adapter_rows(store: BankStore, path: str) -> Iterator[Adapter]:
    """Read every adapter of an object in order, values checked. Raises CorruptBankError."""
    for row in raw_rows(store, path):
        try:
            adapter = _adapter_of(store, path, row)
        except (KeyError, TypeError):
            raise CorruptBankError(f"{store.path(path)} does not hold the columns of adapters") from None
        yield adapter


def _adapter_of(store: BankStore, path: str, row: dict[str, Any]) -> Adapter:
    value, tier, sha256 = row.pop("value"), row.pop("tier"), row.pop("value_sha256")
    if hashlib.sha256(value).hexdigest() != sha256:
        name = show_key(row["doc_id"], row["chunk"])
        raise CorruptBankError(
            f"{store.path(path)} is damaged at the adapter of {name}; run prag bank verify"
        )
    return Adapter(factors=decode(value, store.layout, tier), **row)


def raw_rows(store: BankStore, path: str) -> Iterator[dict[str, Any]]:
    """Read the rows of an adapters object as they are stored, one at a time."""
    try:
        with store.fs.open(store.path(path), "rb") as file:
            parquet = pq.ParquetFile(file, page_checksum_verification=True, pre_buffer=False)
            check_columns(parquet.schema_arrow, tables.SCORED_ADAPTERS, store.path(path))
            for number in range(parquet.num_row_groups):
                yield from parquet.read_row_group(number).to_pylist()
    except FileNotFoundError:
        raise CorruptBankError(f"{store.path(path)} is missing; run prag bank verify") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise CorruptBankError(f"{store.path(path)} cannot be read as Parquet: {error}") from None
