"""Taking documents out of a bank, and putting them back.

Deleting writes a snapshot without the documents; its tombstones go into every later snapshot, whatever the corpus says,
until they are lifted (`restore_documents`) or `gc` has erased the bytes.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import pyarrow as pa

from prag_core.bank import tables
from prag_core.bank.publish import Tombstones, publish
from prag_core.bank.snapshot import Snapshot
from prag_core.errors import BankError
from prag_core.storage import storage_errors

if TYPE_CHECKING:
    from prag_core.bank.bank import Bank


def delete_documents(bank: Bank, doc_ids: Collection[str]) -> Snapshot:
    """A snapshot without these documents (all their chunks). Raises BankError, naming them, if the bank does not know some."""
    newest = bank.require_snapshot()
    unknown = set(doc_ids) - newest.deleted.keys() - _among(newest.index, doc_ids)
    if unknown:
        unknown -= _among(bank.committed_rows(), unknown)
    if unknown:
        raise BankError(f"{bank.uri} has no {_listed(unknown)}; nothing was deleted")
    with storage_errors("writing", bank.uri):
        return publish(bank, same_corpus, deleted=doc_ids)


def restore_documents(bank: Bank, doc_ids: Collection[str]) -> Snapshot:
    """A snapshot that has these deleted documents again. Raises BankError, naming them, if some were not, or are erased."""
    unknown = set(doc_ids) - bank.require_snapshot().deleted.keys()
    if unknown:
        raise BankError(
            f"{bank.uri} has no deletion of {_listed(unknown)} to lift; what gc has erased must be trained again"
        )

    def wanted(parent: Snapshot | None, tombstones: Tombstones) -> pa.Table:
        rows = [(doc_id, *row) for doc_id in doc_ids for row in tombstones.get(doc_id, {"rows": []})["rows"]]
        back = pa.Table.from_pylist(
            [dict(zip(tables.WANTED.names, row, strict=True)) for row in rows], tables.WANTED
        )
        return pa.concat_tables([same_corpus(parent, tombstones), back])

    with storage_errors("writing", bank.uri):
        return publish(bank, wanted, restored=doc_ids)


def same_corpus(parent: Snapshot | None, tombstones: Tombstones) -> pa.Table:
    """What the newest snapshot holds."""
    return parent.index.select(tables.WANTED.names) if parent else tables.WANTED.empty_table()


def _among(rows: pa.Table, doc_ids: Collection[str]) -> set[str]:
    return set(rows["doc_id"].filter(tables.has_doc_id(rows, doc_ids)).to_pylist())


def _listed(doc_ids: Collection[str]) -> str:
    names = ", ".join(repr(doc_id[:80]) for doc_id in sorted(doc_ids)[:10])
    return f"document {names}" + (f" and {len(doc_ids) - 10} more" if len(doc_ids) > 10 else "")
