"""Taking documents out of a bank, and putting them back.

A deletion is an event (`deletions`): it is in force when it is written, whatever else runs. Publishing a snapshot that knows it
is how servers notice; it reads neither commits nor parts, so a deletion costs the same in a bank of any size. A deletion stays,
also after gc has erased the bytes, until `restore_documents` lifts it.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

from prag_core.bank.committed import read_committed
from prag_core.bank.deletions import write_event
from prag_core.bank.publish import Request, publish
from prag_core.bank.published import on_newest
from prag_core.bank.snapshot import Snapshot, load, require
from prag_core.bank.store import BankStore
from prag_core.errors import BankError

EVENT_ONLY = Request(absorb=False)


def delete_documents(store: BankStore, doc_ids: Collection[str]) -> Snapshot:
    """Delete documents (all their chunks), and publish a snapshot that says so. Raises BankError, with their names, for
    documents that the bank does not have; then none is deleted."""
    new = set(doc_ids) - require(store).deleted.keys()
    if unknown := on_newest(store, partial(_unknown, store, new)):
        raise BankError(f"{store.uri} has no {_list(unknown)}; nothing was deleted")
    if new:
        write_event(store, "delete", new)
    try:
        return publish(store, EVENT_ONLY)
    except BankError as error:
        raise BankError(
            f"the documents are deleted and out of every answer, but no new snapshot could be published: {error}"
        ) from error


def _unknown(store: BankStore, doc_ids: Collection[str], name: str | None) -> set[str]:
    """Those of the documents that the bank, whose newest snapshot has this name, does not have in any wording."""
    assert name is not None, "there was a snapshot, and numbers are never free again"
    newest = load(store, name)
    unknown = set(doc_ids) - set(newest.rows_of(doc_ids)["doc_id"].to_pylist())
    if unknown:  # perhaps committed by a run that has not published
        for committed in read_committed(store, newest.commits):
            unknown.difference_update(*(rows["doc_id"].to_pylist() for rows in committed.rows))
    return unknown


def restore_documents(store: BankStore, doc_ids: Collection[str]) -> Snapshot:
    """Lift the deletions of documents, and publish a snapshot that has them again; those whose bytes gc has begun to erase must
    be trained again. Raises BankError, with their names, for documents that are not deleted."""
    deleted = require(store).deleted
    if unknown := set(doc_ids) - deleted.keys():
        raise BankError(f"{store.uri} has no deletion of {_list(unknown)} to lift; nothing was changed")
    lifts = {event for doc_id in doc_ids for event in deleted[doc_id].events}
    write_event(store, "restore", set(doc_ids), lifts)
    return publish(store, EVENT_ONLY)


def _list(doc_ids: Collection[str]) -> str:
    names = ", ".join(repr(doc_id[:80]) for doc_id in sorted(doc_ids)[:10])
    more = f" and {len(doc_ids) - 10} more" if len(doc_ids) > 10 else ""
    return f"document {names}{more}"
