"""Condemned files: what a garbage collection writes down before it removes anything.

gc first writes the names that it wants to remove, then reads what the bank refers to, and spares that. Whoever makes a new
reference to a file writes the reference first and reads the condemned names afterwards. One of the two sees the other, whatever
the clocks say and however long either sleeps in between (the argument of Dekker's algorithm). Names are never used twice, so a
record is of no use, and dropped, once none of its files exists.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from prag_core.bank.layout import CONDEMNED, condemned_path, new_attempt
from prag_core.bank.sealed import seal, unseal
from prag_core.bank.store import BankStore
from prag_core.errors import BankError, CorruptBankError
from prag_core.storage import list_files, put_whole, read, remove, storage_errors


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
            path = store.path(condemned_path(match[1]))
            try:
                records[match[1]] = frozenset(map(str, unseal(read(store.fs, path), path)["files"]))
            except FileNotFoundError:
                continue  # dropped since the listing: none of its files exists
            except (KeyError, TypeError):
                raise CorruptBankError(f"{path} cannot be read; remove it when no gc is running") from None
    return Condemned(records)


def drop_records(store: BankStore, records: Iterable[str]) -> None:
    """Remove records none of whose files exists."""
    remove(store.fs, store.root, [condemned_path(name) for name in records])


def check_safe(store: BankStore, paths: Collection[str], what: str) -> None:
    """Make sure that files which were just referred to are there and stay. Raises BankError where gc has condemned or removed
    one."""
    with storage_errors("reading", store.uri):
        condemned = read_condemned(store).files
        lost = [path for path in paths if path in condemned or not store.fs.exists(store.path(path))]
    if lost:
        raise BankError(
            f"{what} rests on {store.path(lost[0])}, which garbage collection clears away: it lay unused for longer than the "
            "grace period; do the same again, and leave gc its grace period"
        )
