"""A bank as answering sees it: one snapshot, its index, a filter over everything, and reasons for what is missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from prag_core.answering.merge_plan import UNREADABLE
from prag_core.answering.tools import OpenBank, open_bank
from prag_core.bank import Bank, Stage
from prag_core.bank.tables import WANTED
from prag_core.config.load import load_config
from prag_core.config.schema import Config
from prag_core.errors import BankError
from prag_core.identity import content_hash
from prag_core.planning.recipe import prepare_recipe
from prag_core.records import Adapter, Document, Factors, Failure, Question
from prag_core.retrieval import Filter, build_index

KINDS = ("even", "odd")
DOCUMENTS = [
    Document(f"d{i}", f"Number {i} is {KINDS[i % 2]}.", f"number {i}", metadata={"odd": i % 2})
    for i in range(6)
]
QUARANTINED = "d5"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Of a bank over the miniature model: six documents with made-up adapters, one of them quarantined, not indexed yet."""
    config = load_config([f"bank.uri={tmp_path_factory.mktemp('answering')}/bank"])
    prepared = prepare_recipe(config)
    bank = Bank.create(config.bank.uri, prepared.recipe, prepared.layout, prepared.initial)
    factors = {
        name: Factors(np.ones(a, np.float32), np.ones(b, np.float32))
        for name, a, b in prepared.layout.shapes()
    }
    with bank.begin(Stage.adapters, "shard") as writer:
        for document in DOCUMENTS:
            content = content_hash(document)
            failed = document.doc_id == QUARANTINED
            writer.add(
                Failure(*document.key, content, "train", "diverged", 1)
                if failed
                else Adapter(
                    *document.key, content, factors, steps=5, tokens=100, loss_first=2.0, loss_last=1.0
                )
            )
        writer.commit([bank.write_documents("shard", DOCUMENTS)])
    return config


@pytest.fixture(scope="module")
def indexed(config: Config) -> Config:
    bank = open_bank(config.bank.uri, config.model)
    with pytest.raises(BankError, match="no snapshot yet; run prag parameterize"):
        OpenBank.open(config.bank.uri, config)
    rows = [{"doc_id": d.doc_id, "chunk": d.chunk, "content_hash": content_hash(d)} for d in DOCUMENTS]
    snapshot = bank.write_snapshot(pa.Table.from_pylist(rows, WANTED))
    with pytest.raises(BankError, match="run prag index"):
        OpenBank.open(config.bank.uri, config)
    build_index(bank, snapshot, config.retrieval)
    return config


def test_adapters_are_read_and_those_that_cannot_be_come_with_a_reason_that_names_no_place(
    indexed: Config, caplog: pytest.LogCaptureFixture
) -> None:
    opened = OpenBank.open(indexed.bank.uri, indexed)
    entries = opened.entries([("d0", 0), ("d1", 0), ("nowhere", 0)])
    assert set(entries) == {("d0", 0), ("d1", 0)}
    damaged = replace(entries["d1", 0], sha256="0" * 64)
    factors, reasons = opened.read([entries["d0", 0], damaged])
    assert set(factors) == {("d0", 0)} and reasons == {("d1", 0): UNREADABLE}
    assert str(damaged.adapter_object) in caplog.text


def test_a_filter_holds_for_whatever_documents_are_asked_for_as(indexed: Config) -> None:
    opened = OpenBank.open(indexed.bank.uri, indexed, Filter.parse({"odd": 1}))
    question = Question("q", "Which number is even or odd?", ("0",), ("d0", "d1"))
    (found,) = opened.search([question.question], 6)
    assert (
        {passage.doc_id for passage in found}
        == {"d1", "d3", "d5"}
        == {doc_id for doc_id, _ in opened.documents}
    )
    assert [passage.doc_id for passage in opened.gold(question)] == ["d1"]
    assert {passage.doc_id for passage in opened.irrelevant(question, found[:1], 6)} < {"d1", "d3", "d5"}


def test_a_bank_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BankError, match="there is no bank here"):
        open_bank(f"{tmp_path}/bank", load_config().model)
