"""Inquiries → passages of one snapshot, with the places of their adapters.

The index in use is that of the newest indexed snapshot. When a newer snapshot appears (a run, `prag delete`), its deleted
documents are out of every result from then on; what else it changes is served from the moment `prag index` has indexed it,
all at once. So a result is always of one snapshot, and never holds a document that was deleted.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from cluster.loopback import keep_to_loopback
from cluster.records import Found, Inquiry, Refusal, Refused
from cluster.watch import SnapshotWatch
from prag_core.answering.tools import open_bank
from prag_core.bank import Bank, Snapshot
from prag_core.bank.published import list_names
from prag_core.bank.snapshot import load
from prag_core.config.schema import Config, RetrievalConfig
from prag_core.errors import BankError
from prag_core.records import Passage
from prag_core.retrieval import Filter, LexicalIndex, has_index, open_index


@dataclass(frozen=True)
class View:
    """An indexed snapshot, less what was deleted since."""

    snapshot: Snapshot
    index: LexicalIndex
    newest: Snapshot

    @property
    def gone(self) -> set[str]:
        return set() if self.newest is self.snapshot else set(self.newest.deleted)

    def find(self, inquiry: Inquiry) -> Found:
        """Passages of the view. Raises Refused for documents that are not in it."""
        passages = (
            self._search(inquiry)
            if inquiry.doc_ids is None
            else self._exactly(inquiry.doc_ids, inquiry.where)
        )
        keys = [passage.key for passage in passages]
        return Found(self.snapshot.name, self.newest.number, tuple(passages), self.snapshot.lookup(keys))

    def _search(self, inquiry: Inquiry) -> list[Passage]:
        gone = self.gone
        (passages,) = self.index.search([inquiry.query], inquiry.top_k + len(gone), inquiry.where)
        return [passage for passage in passages if passage.doc_id not in gone][: inquiry.top_k]

    def _exactly(self, doc_ids: tuple[str, ...], where: Filter | None) -> list[Passage]:
        """All chunks of the documents asked for, in the order asked. Raises Refused, the same for unknown, deleted and
        forbidden documents."""
        gone = self.gone
        passages = [passage for passage in self.index.look_up(doc_ids, where) if passage.doc_id not in gone]
        found = {passage.doc_id for passage in passages}
        for doc_id in doc_ids:
            if doc_id not in found:
                message = f"no document {doc_id[:80]!r}"
                raise Refused(Refusal(404, message, "prag.doc_ids", "document_not_found"))
        return passages


class Retriever:
    """A deployment. Answers inquiries over the view at hand, and keeps it new."""

    async def __init__(self, config: Config) -> None:  # type: ignore[misc]  # Serve awaits it
        keep_to_loopback()
        self.config = config
        self.bank = open_bank(config.bank.uri, config.model)
        self.view = newest_view(self.bank, config.retrieval)
        self.watch = SnapshotWatch(self.bank, self.view.newest, self._changed)
        self._looking = asyncio.get_running_loop().create_task(
            self.watch.keep_looking(config.serve.poll_seconds, also=self._index_of_newest)
        )

    async def find(self, inquiry: Inquiry) -> Found | Refusal:
        """Passages for an inquiry, or why there are none: a value, since it crosses Ray."""
        await self._see(inquiry.at_least)
        try:
            return await asyncio.to_thread(self.view.find, inquiry)
        except Refused as refused:
            return refused.refusal

    async def current(self, at_least: int) -> Found:
        """What inquiries are answered from, for those who retrieve nothing yet."""
        await self._see(at_least)
        return Found(self.view.snapshot.name, self.view.newest.number)

    async def status(self) -> dict[str, str]:
        return {"snapshot": self.view.snapshot.name, "newest": self.view.newest.name}

    async def _see(self, number: int) -> None:
        """Know that snapshot, and its index if it has one: another replica may have it already."""
        await self.watch.look(number)
        if number > self.view.snapshot.number:
            await self._index_of_newest()

    async def _changed(self, newest: Snapshot) -> None:
        """What is deleted goes at once; the rest of what is new when its index is there."""
        self.view = View(self.view.snapshot, self.view.index, newest)
        await self._index_of_newest()

    async def _index_of_newest(self) -> None:
        newest = self.view.newest
        if newest is self.view.snapshot or not await asyncio.to_thread(
            has_index, self.bank, newest, self.config.retrieval
        ):
            return
        index = await asyncio.to_thread(open_index, self.bank, newest, self.config.retrieval)
        await asyncio.to_thread(newest.lookup, [("", 0)])  # its index in memory before anyone waits for it
        if self.view.newest is newest:
            self.view = View(newest, index, newest)


def newest_view(bank: Bank, settings: RetrievalConfig) -> View:
    """The newest indexed snapshot, less what was deleted since. Raises BankError where none has an index."""
    newest, indexed = indexed_snapshot(bank, settings)
    return View(indexed, open_index(bank, indexed, settings), newest)


def indexed_snapshot(bank: Bank, settings: RetrievalConfig) -> tuple[Snapshot, Snapshot]:
    """The newest snapshot, and the newest that has an index. Raises BankError where there is none."""
    names = list_names(bank)  # first, so that none of them is newer than `newest`
    newest = bank.require_snapshot()
    for name in names:
        snapshot = newest if name == newest.name else load(bank, name)
        if has_index(bank, snapshot, settings):
            return newest, snapshot
    raise BankError(
        f"{bank.uri}: no snapshot has an index for these retrieval settings; run prag index bank.uri={bank.uri}"
    )
