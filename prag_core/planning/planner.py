"""Plan a run: the corpus, less what the bank already has, cut into shards, saved before any work starts.

Promises: the same corpus over the same bank gives the same shards, for as many actors (`shard_sizes`). A shard of an earlier run
that is not committed is kept as it is, under its id, as long as all its documents are still in the corpus in that wording (its
committed augmentations are found again by that id); otherwise its remaining documents are planned again. Documents that were
deleted stay out; quarantined and text_only ones come back only on request. The corpus streams through: one batch of documents is
held at a time, beside some hundred bytes a document of hashes and ids. Nothing is written before the whole corpus was read and
found good (until then new shards' documents wait in a temporary file).
"""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import IO, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from prag_core.bank import Bank, Stage
from prag_core.bank.codec import encoded_size
from prag_core.bank.tables import WANTED, group_rows
from prag_core.config.dump import as_dict
from prag_core.config.schema import Config
from prag_core.corpus.chunking import split_long
from prag_core.corpus.reader import CorpusCounts, CorpusReader
from prag_core.identity import adapter_version, content_hash, digest, shard_id
from prag_core.planning.estimate import Estimator
from prag_core.planning.known_documents import (
    DELETED,
    DONE,
    FAILED,
    NEW,
    NONE,
    TEXT_ONLY,
    KnownDocuments,
)
from prag_core.planning.plan import (
    MEMBERS,
    Plan,
    PlanCounts,
    Shard,
    load_unfinished,
    members_of,
    members_table,
    save_plan,
)
from prag_core.planning.recipe import PreparedRecipe
from prag_core.planning.shard_sizes import ShardSizes
from prag_core.records import Document
from prag_core.retrieval.analyzer import is_unspaced
from prag_core.storage import list_files

BATCH_DOCUMENTS = 1024
WRITERS = 8  # documents objects written at once
NAMED_LONG = 10  # so many documents that are too long are named
NAMED_LEFT = 5  # documents that left the corpus and are named


def make_plan(
    config: Config,
    bank: Bank | None,
    documents: Iterable[Document],
    prepared: PreparedRecipe,
    *,
    write: bool,
    retry_failed: bool = False,
) -> Plan:
    """Plan a run over `documents`. With `write` the shards' documents, the plan and the wanted documents go to the bank;
    without, nothing is written, and there need be no bank yet. Raises what reading the corpus and the bank raise."""
    assert bank is not None or not write, "a plan is written into a bank"
    planner = _Planner(config, bank, prepared, write=write, retry_failed=retry_failed)
    for batch in _batches(split_long(documents, prepared.limit, config.corpus)):
        planner.add(batch)
    return planner.finish(documents.counts if isinstance(documents, CorpusReader) else CorpusCounts())


class _Planner:
    """The state of planning one run."""

    def __init__(
        self, config: Config, bank: Bank | None, prepared: PreparedRecipe, *, write: bool, retry_failed: bool
    ) -> None:
        self.config, self.bank, self.prepared, self.write, self.retry_failed = (
            config,
            bank,
            prepared,
            write,
            retry_failed,
        )
        self.committed: set[str] = bank.committed_shards(Stage.adapters) if bank else set()
        shards, members = load_unfinished(bank) if bank else ((), MEMBERS.empty_table())
        shards = tuple(shard for shard in shards if shard.shard_id not in self.committed)
        present = list_files(bank.fs, bank.path("documents")) if bank and shards else {}
        self.unfinished = {
            shard.shard_id: shard
            for shard in shards
            if shard.documents_object.removeprefix("documents/") in present
        }
        self.members = members_of(members, self.unfinished)
        self.member_seen = np.zeros(self.members.num_rows, dtype=bool)
        self.snapshot = bank.latest_snapshot() if bank else None
        self.deleted = frozenset(self.snapshot.deleted) if self.snapshot else frozenset()
        self.known = KnownDocuments(
            bank.committed_rows(["content_hash", "status", "current"]) if bank else NONE,
            self.members["content_hash"],
        )
        size = encoded_size(prepared.layout, config.bank.tier)
        self.estimator = Estimator(config, prepared.tokenizer, size, prepared.num_parameters)
        self.sizes = ShardSizes.of(config.bank, config.ray, size)
        self.counts = PlanCounts()
        self.long_documents: list[str] = []
        self.wanted: list[pa.RecordBatch] = []
        self.pending: list[tuple[str, int]] = []  # content hash and tokens of training
        self.shards: list[Shard] = []
        self.new_members: list[pa.Table] = []
        self.spool = cast(IO[bytes], tempfile.TemporaryFile())  # noqa: SIM115  (the new shards' documents, until all is read)

    def add(self, batch: Sequence[Document]) -> None:
        """Take documents of the corpus, in order."""
        hashes = [content_hash(document) for document in batch]
        columns = [[d.doc_id for d in batch], [d.chunk for d in batch], hashes]
        self.wanted.append(
            pa.record_batch(
                [pa.array(c, f.type) for c, f in zip(columns, WANTED, strict=True)], schema=WANTED
            )
        )
        deleted = np.array([document.doc_id in self.deleted for document in batch])
        codes = np.where(deleted, DELETED, self.known.look_up(hashes))
        failed, text_only = int((codes == FAILED).sum()), int((codes == TEXT_ONLY).sum())
        self.counts.documents += len(batch)
        self.counts.unspaced += sum(is_unspaced(document.text) for document in batch)
        self.counts.deleted += int(deleted.sum())
        self.counts.done += int((codes == DONE).sum())
        if self.retry_failed:
            self.counts.retried += failed + text_only
        else:
            self.counts.failed += failed
            self.counts.text_only += text_only
        self.member_seen[codes[codes >= 0]] = True
        todo = (NEW, FAILED, TEXT_ONLY) if self.retry_failed else (NEW,)
        for place in np.flatnonzero(np.isin(codes, todo)).tolist():
            self._plan(batch[place], hashes[place])

    def finish(self, corpus: CorpusCounts) -> Plan:
        """Settle what earlier runs left, cut the last shards, save."""
        kept = self._settle_unfinished()
        remaining = len(self.pending)
        for size in [remaining] * (remaining > 0) if self.shards else self.sizes.evenly(remaining):
            self._cut(size)
        if self.write and self.bank:
            self.shards = _write_documents(self.bank, self.shards, self.spool)
        self.counts.duplicates, self.counts.rejected = corpus.duplicates, corpus.rejected
        wanted = pa.Table.from_batches(self.wanted, WANTED)
        self.counts.left, self.counts.edited, left_ids = self._count_leaving(wanted)
        shards = (*kept, *self.shards)
        documents, tokens = sum(s.num_documents for s in shards), sum(s.num_tokens for s in shards)
        estimate = self.estimator.estimate(documents, tokens)
        plan = Plan(
            run=_new_run(self.config),
            shards=shards,
            counts=self.counts,
            estimate=estimate,
            long_documents=tuple(self.long_documents),
            rejected_rows=tuple(map(str, corpus.reasons)),
            wanted_table=wanted,
            snapshot=self.snapshot.name if self.snapshot else None,
            left_ids=left_ids,
        )
        if self.write and self.bank:
            members = pa.concat_tables(
                [members_of(self.members, [shard.shard_id for shard in kept]), *self.new_members]
            )
            save_plan(self.bank, plan, members, self.config)
        return plan

    def _plan(self, document: Document, content: str) -> None:
        self.counts.new += 1
        self._note_length(document)
        self.pending.append((content, self.estimator.train_tokens(document)))
        if self.write:
            pickle.dump(document, self.spool)
        while self.sizes.are_enough(self.counts.new) and len(self.pending) >= self.sizes.largest:
            self._cut(self.sizes.largest)

    def _note_length(self, document: Document) -> None:
        if not self.prepared.limit.holds(document):
            self.counts.long += 1
            if len(self.long_documents) < NAMED_LONG:
                self.long_documents.append(document.doc_id)

    def _cut(self, size: int) -> None:
        """Make the first `size` pending documents a shard."""
        cut, self.pending = self.pending[:size], self.pending[size:]
        hashes = [content for content, _ in cut]
        name = self._shard_name(hashes)
        self.shards.append(Shard(name, "", size, sum(tokens for _, tokens in cut)))
        self.new_members.append(members_table(name, hashes))

    def _shard_name(self, hashes: Sequence[str]) -> str:
        """Name a shard. A committed one is never reopened: documents tried for the n-th time form a shard of another name."""
        recipe_id = self.prepared.recipe.id
        versions = [adapter_version(content, recipe_id) for content in hashes]
        name, attempt = shard_id(versions), 0
        while name in self.committed:
            attempt += 1
            name = shard_id([f"{version}#{attempt}" for version in versions])
        return name

    def _settle_unfinished(self) -> list[Shard]:
        """Keep the unfinished shards whose documents are all still wanted; plan the remaining documents of the others."""
        kept = []
        hashes = self.members["content_hash"].cast(pa.large_string()).combine_chunks()  # may be above 2 GiB
        for name, rows in group_rows(self.members["shard_id"]).items():
            shard, seen = self.unfinished[name], self.member_seen[rows]
            if seen.all():
                kept.append(shard)
                self.counts.resumed += shard.num_documents
            elif seen.any() and self.bank:
                remaining = set(hashes.take(pa.array(rows[seen])).to_pylist())
                for document in self.bank.read_documents(shard.documents):
                    if (content := content_hash(document)) in remaining:
                        self._plan(document, content)
        return kept

    def _count_leaving(self, wanted: pa.Table) -> tuple[int, int, tuple[str, ...]]:
        """Count the last snapshot's documents that the corpus no longer has, and those that it has in another wording. Names
        the first of those that it no longer has. Reads the catalog only if there are any."""
        if self.snapshot is None or self.known.all_seen:
            return 0, 0, ()
        gone = [pa.array([], pa.large_string())]
        for rows in self.snapshot.visible_parts(["doc_id", "content_hash"]):
            unseen = ~self.known.seen(rows["content_hash"])
            gone += rows["doc_id"].filter(pa.array(unseen)).cast(pa.large_string()).chunks
        doc_ids = pa.concat_arrays(gone)
        kept = [pc.is_in(ids.cast(pa.large_string()), doc_ids) for ids in wanted["doc_id"].chunks]
        edited = [
            ids.filter(mask).cast(pa.large_string())
            for ids, mask in zip(wanted["doc_id"].chunks, kept, strict=True)
        ]
        left = doc_ids.filter(pc.invert(pc.is_in(doc_ids, pa.concat_arrays([*gone[:1], *edited]))))
        return len(left), len(doc_ids) - len(left), tuple(left[:NAMED_LEFT].to_pylist())


def _write_documents(bank: Bank, shards: Sequence[Shard], spool: IO[bytes]) -> list[Shard]:
    """Write each shard's documents from the spool, some at once. Returns the shards with the paths of their documents."""
    spool.seek(0)
    written: list[Shard] = []
    with ThreadPoolExecutor(WRITERS) as pool:
        for start in range(0, len(shards), WRITERS):
            group = [
                (shard, [pickle.load(spool) for _ in range(shard.num_documents)])
                for shard in shards[start : start + WRITERS]
            ]
            infos = pool.map(lambda item: bank.write_documents(item[0].shard_id, item[1]), group)
            written += [
                replace(
                    shard,
                    documents_object=info.path,
                    documents_bytes=info.bytes,
                    documents_sha256=info.sha256,
                )
                for (shard, _), info in zip(group, infos, strict=True)
            ]
    return written


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    for document in documents:
        batch.append(document)
        if len(batch) == BATCH_DOCUMENTS:
            yield batch
            batch = []
    if batch:
        yield batch


def _new_run(config: Config) -> str:
    """Make a name that sorts by time, so that the newest plan is found."""
    now = datetime.now(UTC)
    return f"{now:%Y%m%dT%H%M%S.%f}-{digest([as_dict(config), now.isoformat()])[:8]}"
