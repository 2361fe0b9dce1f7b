"""A bank at which nobody works any more: everything is published, read, verified and cleared, and every promise checked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta

import pyarrow.parquet as pq

from prag_core.bank import Bank, Problem
from prag_core.storage import TEMPORARY, is_local, list_files
from tests.faults.process import World
from tests.simulation import corpus as texts
from tests.simulation.actors import Hands
from tests.simulation.corpus import Corpus
from tests.simulation.history import CONTENT


def check_at_rest(hands: Hands, world: World, corpus: Corpus) -> None:
    """Raise Violation unless the bank keeps every promise after a publish of the whole corpus, and after gc, twice."""
    bank, oracle = hands.open(), hands.oracle
    if not hands.publish(bank, corpus):
        oracle.violate("committed", f"nothing can be published at rest: {world.last}")
    _check(hands, world, bank, corpus, "at rest")
    _age_unfinished(bank)
    for _ in range(2):
        if not hands.gc(bank, timedelta(0)):
            oracle.violate("cleared", f"gc fails at rest: {world.last}")
    left = [f"{p.path} {p.message}" for p in _check(hands, world, bank, corpus, "after gc")]
    if left:
        oracle.violate("cleared", f"two gcs left {'; '.join(left)}")
    gone = {doc_id for doc_id in texts.OLD if oracle.is_deleted(doc_id, oracle.now, oracle.now)}
    for path, doc_ids in _contents(bank):
        if doc_ids & gone:
            oracle.violate("cleared", f"{path} still has {doc_ids & gone} after two gcs")


def _check(hands: Hands, world: World, bank: Bank, corpus: Corpus, when: str) -> list[Problem]:
    looked = hands.read(bank)
    if looked is None:
        hands.oracle.violate("committed", f"the bank cannot be read {when}: {world.last}")
    else:
        hands.oracle.check_at_rest(*looked, corpus, when)
        hands.read_documents(bank, looked[0])
    problems = hands.verify(bank)
    if problems is None:
        hands.oracle.violate("verify", f"verify fails {when}: {world.last}")
    return problems or []


def _age_unfinished(bank: Bank) -> None:
    """Let an hour pass for the files that killed processes left unfinished in a folder: gc spares younger ones."""
    for name in list_files(bank.fs, bank.root) if is_local(bank.fs) else ():
        if TEMPORARY in name:
            path = bank.path(name)
            os.utime(path, (os.stat(path).st_mtime - 3600,) * 2)


def _contents(bank: Bank) -> Iterator[tuple[str, set[str]]]:
    """Objects with rows of documents, and whose they are, read with pyarrow alone."""
    for name in list_files(bank.fs, bank.root):
        if CONTENT.match(f"bank/{name}"):
            with bank.fs.open(bank.path(name), "rb") as file:
                yield name, set(pq.read_table(file, columns=["doc_id"])["doc_id"].to_pylist())
