"""Condemned files: what a garbage collection writes down before it removes anything.

gc first writes the names that it wants to remove, then reads what the bank refers to, and spares that. Whoever makes a new
reference to a file writes the reference first and reads the condemned names afterwards. One of the two sees the other, whatever
the clocks say and however long either sleeps in between (the argument of Dekker's algorithm). Names are never used twice, so a
record is of no use, and dropped, once none of its files exists.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass

from prag_core.bank.layout import CONDEMNED, condemned_path, new_attempt
from prag_core.bank.sealed import seal
from prag_core.bank.store import BankStore
from prag_core.errors import BankError, CorruptBankError
from prag_core.storage import list_files, put_whole, read_ranges, remove, storage_errors


class CondemnedError(BankError):
    """What was just written rests on files that garbage collection clears away."""


@dataclass(frozen=True)
class Condemned:
    """The records that garbage collections have written: name → files."""

    records: dict[str, frozenset[str]]

    @property
    def files(self) -> frozenset[str]:
        return frozenset().union(*self.records.values())


def condemn(store: BankStore, files: Collection[str]) -> str:
    """Write down files that shall be removed. Returns the name of the record."""
    name = new_attempt()
    put_whole(store.fs, store.path(condemned_path(name)), seal({"files": sorted(files)}))
    return name


def read_condemned(store: BankStore) -> Condemned:
    """Read all records. One listing, where no gc is at work. A damaged record is a CorruptBankError."""
    records = {}
    for name in sorted(list_files(store.fs, store.path("condemned"))):
        if match := CONDEMNED.fullmatch(f"condemned/{name}"):
            with suppress(FileNotFoundError):  # dropped since the listing: none of its files exists
                records[match[1]] = read_record(store, condemned_path(match[1]))
    return Condemned(records)


def read_record(store: BankStore, path: str) -> frozenset[str]:
    """Read the files that one record names. Raises FileNotFoundError, CorruptBankError."""
    files = store.read_sealed(path).get("files")
    if not isinstance(files, list) or not all(isinstance(file, str) for file in files):
        raise CorruptBankError(
            f"{store.path(path)} names no files to remove; it is damaged, remove it when no gc is running"
        )
    return frozenset(files)


def drop_records(store: BankStore, records: Iterable[str]) -> None:
    """Remove records none of whose files exists."""
    remove(store.fs, store.root, [condemned_path(name) for name in records])


def check_safe(store: BankStore, paths: Collection[str], what: str) -> None:
    """Make sure that files which were just referred to are there and stay. Raises CondemnedError where gc has condemned or
    removed one."""
    places = [store.path(path) for path in paths]
    with storage_errors("reading", store.uri):
        condemned = read_condemned(store).files
        lost = [place for path, place in zip(paths, places, strict=True) if path in condemned]
        try:
            read_ranges(store.fs, places, [0] * len(places), [1] * len(places))  # at once, unlike `exists`
        except FileNotFoundError as error:
            lost.append(str(error.filename))
    if lost:
        raise CondemnedError(
            f"{what} rests on {lost[0]}, which garbage collection clears away: it lay unused for longer than the "
            "grace period; do the same again, and leave gc its grace period"
        )
