"""Taking documents out of a bank, and putting them back.

Deleting writes a snapshot without the documents. Its tombstones go into every later snapshot, whatever the corpus says,
until they are lifted (`restore_documents`) or `gc` has erased the bytes.
"""

from __future__ import annotations

from collections.abc import Collection

import pyarrow as pa

from prag_core.bank import tables
from prag_core.bank.commits import committed_rows
from prag_core.bank.publish import Tombstones, publish
from prag_core.bank.snapshot import Snapshot, require
from prag_core.bank.store import BankStore
from prag_core.errors import BankError


def delete_documents(store: BankStore, doc_ids: Collection[str]) -> Snapshot:
    """Publish a snapshot without these documents (all their chunks). Raises BankError, with their names, for documents that the
    bank does not have."""
    newest = require(store)
    unknown = set(doc_ids) - newest.deleted.keys() - _ids_among(newest.index, doc_ids)
    if unknown:
        unknown -= _ids_among(committed_rows(store).rows, unknown)
    if unknown:
        raise BankError(f"{store.uri} has no {_list(unknown)}; nothing was deleted")
    return publish(store, same_corpus, deleted=doc_ids)


def restore_documents(store: BankStore, doc_ids: Collection[str]) -> Snapshot:
    """Publish a snapshot that has these deleted documents again. Raises BankError, with their names, for documents that are not
    deleted, or already erased."""
    unknown = set(doc_ids) - require(store).deleted.keys()
    if unknown:
        raise BankError(
            f"{store.uri} has no deletion of {_list(unknown)} to lift; documents that gc has erased must be trained again"
        )

    def wanted(parent: Snapshot | None, tombstones: Tombstones) -> pa.Table:
        rows = [(doc_id, *row) for doc_id in doc_ids for row in tombstones.get(doc_id, {"rows": []})["rows"]]
        return pa.concat_tables([same_corpus(parent, tombstones), tables.wanted_table(rows)])

    return publish(store, wanted, restored=doc_ids)


def same_corpus(parent: Snapshot | None, tombstones: Tombstones) -> pa.Table:
    """Ask for the documents of the newest snapshot, as `publish` wants to be told."""
    return parent.index.select(tables.WANTED.names) if parent else tables.WANTED.empty_table()


def _ids_among(rows: pa.Table, doc_ids: Collection[str]) -> set[str]:
    """Those of `doc_ids` that `rows` has."""
    return set(rows["doc_id"].filter(tables.has_doc_id(rows, doc_ids)).to_pylist())


def _list(doc_ids: Collection[str]) -> str:
    names = ", ".join(repr(doc_id[:80]) for doc_id in sorted(doc_ids)[:10])
    more = f" and {len(doc_ids) - 10} more" if len(doc_ids) > 10 else ""
    return f"document {names}{more}"
