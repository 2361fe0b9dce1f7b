"""Reading adapters: by key through a snapshot (one ranged request each), or a whole object row by row."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from prag_core.bank.codec import decode
from prag_core.bank.snapshot import Entry, Snapshot
from prag_core.errors import BankError, CorruptBankError
from prag_core.records import Adapter, AdapterFactors, Key
from prag_core.storage import read_ranges, storage_errors

if TYPE_CHECKING:
    from prag_core.bank.bank import Bank

LARGE = 1 << 20  # bytes of an adapter from which several are checked at once, in threads


class AdapterReader:
    """Fetches adapters of one snapshot. Keeps nothing but the snapshot's index."""

    def __init__(self, bank: Bank, snapshot: Snapshot) -> None:
        self.bank, self.snapshot = bank, snapshot

    def fetch(self, keys: Collection[Key]) -> dict[Key, AdapterFactors]:
        """The factors of every key, float32, in the order asked: one concurrent ranged request each, digests checked.

        Raises BankError naming keys that the snapshot has no adapter of, CorruptBankError naming object and doc_id when bytes
        are damaged or missing.
        """
        return read_factors(self.bank, self.entries(keys))

    def entries(self, keys: Collection[Key]) -> list[Entry]:
        """Where the adapters of these keys lie, in the order asked, each once, accepted or not. Raises BankError for those
        without one."""
        found = self.snapshot.lookup(keys)
        asked = dict.fromkeys(keys)
        missing = [key for key in asked if key not in found or found[key].adapter_object is None]
        if missing:
            names = ", ".join(shown(*key) for key in missing[:5]) + ("…" if len(missing) > 5 else "")
            raise BankError(f"{self.bank.uri}: snapshot {self.snapshot.name} has no adapter of {names}")
        return [found[key] for key in asked]


def read_factors(bank: Bank, entries: Sequence[Entry]) -> dict[Key, AdapterFactors]:
    """The adapters that lie at `entries`, float32: one concurrent ranged request each, digests checked. Raises
    CorruptBankError naming object and doc_id when bytes are damaged or missing."""
    values = _read_values(bank, entries)
    banks = [bank] * len(entries)
    if len(entries) == 1 or max(map(len, values), default=0) < LARGE:
        return dict(map(_check, banks, entries, values))
    with ThreadPoolExecutor(min(len(entries), os.cpu_count() or 1)) as pool:
        return dict(pool.map(_check, banks, entries, values))


def read_usable(bank: Bank, entries: Sequence[Entry]) -> tuple[dict[Key, AdapterFactors], dict[Key, str]]:
    """The same, with what is damaged as reasons. All at once; only when something is, one by one, to lose no more than that."""
    try:
        return read_factors(bank, entries), {}
    except CorruptBankError:
        factors: dict[Key, AdapterFactors] = {}
        damaged: dict[Key, str] = {}
        for entry in entries:
            try:
                factors |= read_factors(bank, [entry])
            except CorruptBankError as error:
                damaged[entry.key] = str(error)
        return factors, damaged


def _read_values(bank: Bank, entries: Sequence[Entry]) -> list[bytes]:
    paths = [bank.path(str(entry.adapter_object)) for entry in entries]
    starts = [int(entry.start or 0) for entry in entries]
    ends = [start + int(entry.length or 0) for start, entry in zip(starts, entries, strict=True)]
    try:
        with storage_errors("reading", bank.uri):
            return read_ranges(bank.fs, paths, starts, ends)
    except FileNotFoundError as error:
        raise CorruptBankError(f"{error.filename} is missing; run prag bank verify") from None


def _check(bank: Bank, entry: Entry, value: bytes) -> tuple[Key, AdapterFactors]:
    """A key and its factors. Raises CorruptBankError when the bytes are not those that were written."""
    if hashlib.sha256(value).hexdigest() != entry.sha256:
        path = bank.path(str(entry.adapter_object))
        raise CorruptBankError(
            f"{path} is damaged at the adapter of {shown(*entry.key)}; run prag bank verify"
        )
    return entry.key, decode(value, bank.layout, str(entry.tier))


def shown(doc_id: str, chunk: int) -> str:
    """A document's key as messages show it."""
    return f"{doc_id[:80]!r} chunk {chunk}"


def read_adapter_rows(bank: Bank, path: str) -> Iterator[Adapter]:
    """Every adapter of an object in order, values checked. Raises CorruptBankError."""
    for row in raw_rows(bank, path):
        value, tier, sha256 = row.pop("value"), row.pop("tier"), row.pop("value_sha256")
        if hashlib.sha256(value).hexdigest() != sha256:
            name = shown(row["doc_id"], row["chunk"])
            raise CorruptBankError(
                f"{bank.path(path)} is damaged at the adapter of {name}; run prag bank verify"
            )
        yield Adapter(factors=decode(value, bank.layout, tier), **row)


def raw_rows(bank: Bank, path: str) -> Iterator[dict[str, Any]]:
    """The rows of an adapters object as they are stored, one at a time."""
    try:
        with bank.fs.open(bank.path(path), "rb") as file:
            parquet = pq.ParquetFile(file, page_checksum_verification=True, pre_buffer=False)
            for number in range(parquet.num_row_groups):
                yield from parquet.read_row_group(number).to_pylist()
    except FileNotFoundError:
        raise CorruptBankError(f"{bank.path(path)} is missing; run prag bank verify") from None
    except (pa.ArrowException, OSError) as error:
        raise CorruptBankError(f"{bank.path(path)} cannot be read as Parquet: {error}") from None
