"""Reading adapters: by key through a snapshot (one ranged request each), or a whole object row by row."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from prag_core.bank.codec import decode
from prag_core.bank.snapshot import Entry, Snapshot
from prag_core.bank.store import BankStore
from prag_core.errors import BankError, CorruptBankError
from prag_core.records import Adapter, AdapterFactors, Key
from prag_core.storage import read_ranges, storage_errors

LARGE = 1 << 20  # bytes of an adapter from which several are checked at once, in threads


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
    values = _read_values(store, entries)
    banks = [store] * len(entries)
    if len(entries) == 1 or max(map(len, values), default=0) < LARGE:
        return dict(map(_check, banks, entries, values))
    with ThreadPoolExecutor(min(len(entries), os.cpu_count() or 1)) as pool:
        return dict(pool.map(_check, banks, entries, values))


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
    places = [entry.place for entry in entries]
    paths = [store.path(place.path) for place in places]
    try:
        with storage_errors("reading", store.uri):
            return read_ranges(
                store.fs, paths, [place.start for place in places], [place.end for place in places]
            )
    except FileNotFoundError as error:
        raise CorruptBankError(f"{error.filename} is missing; run prag bank verify") from None


def _check(store: BankStore, entry: Entry, value: bytes) -> tuple[Key, AdapterFactors]:
    """Decode an adapter. Raises CorruptBankError when the bytes are not those that were written."""
    if hashlib.sha256(value).hexdigest() != entry.sha256:
        path = store.path(entry.place.path)
        raise CorruptBankError(
            f"{path} is damaged at the adapter of {show_key(*entry.key)}; run prag bank verify"
        )
    return entry.key, decode(value, store.layout, str(entry.tier))


def show_key(doc_id: str, chunk: int) -> str:
    """A document's key as messages show it."""
    return f"{doc_id[:80]!r} chunk {chunk}"


def read_adapter_rows(store: BankStore, path: str) -> Iterator[Adapter]:
    """Read every adapter of an object in order, values checked. Raises CorruptBankError."""
    for row in raw_rows(store, path):
        value, tier, sha256 = row.pop("value"), row.pop("tier"), row.pop("value_sha256")
        if hashlib.sha256(value).hexdigest() != sha256:
            name = show_key(row["doc_id"], row["chunk"])
            raise CorruptBankError(
                f"{store.path(path)} is damaged at the adapter of {name}; run prag bank verify"
            )
        yield Adapter(factors=decode(value, store.layout, tier), **row)


def raw_rows(store: BankStore, path: str) -> Iterator[dict[str, Any]]:
    """Read the rows of an adapters object as they are stored, one at a time."""
    try:
        with store.fs.open(store.path(path), "rb") as file:
            parquet = pq.ParquetFile(file, page_checksum_verification=True, pre_buffer=False)
            for number in range(parquet.num_row_groups):
                yield from parquet.read_row_group(number).to_pylist()
    except FileNotFoundError:
        raise CorruptBankError(f"{store.path(path)} is missing; run prag bank verify") from None
    except (pa.ArrowException, OSError) as error:
        raise CorruptBankError(f"{store.path(path)} cannot be read as Parquet: {error}") from None
