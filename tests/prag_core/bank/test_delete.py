from __future__ import annotations

from pathlib import Path

import pytest

from prag_core.bank import AdapterReader, delete_documents, restore_documents
from prag_core.errors import BankError
from tests.prag_core.bank.world import Filled, World


def test_a_deleted_document_is_gone_and_stays_out_of_later_snapshots(filled: Filled, world: World) -> None:
    bank = filled.bank
    snapshot = delete_documents(bank, ["a", "d"])
    assert snapshot.counts == {"adapter": 2, "text_only": 0, "failed": 0, "deleted": 2}
    assert [document.doc_id for document in snapshot.documents()] == ["b", "c"]
    with pytest.raises(BankError, match="no adapter of 'a'"):
        AdapterReader(bank, snapshot).fetch([("a", 0)])
    world.augment(bank, "shard2", world.documents(["e"]))
    world.train(bank, "shard2", world.documents(["e"]))
    later = bank.write_snapshot(world.wanted([*filled.documents, *world.documents(["e"])]))
    assert set(later.deleted) == {"a", "d"} and set(later.index["doc_id"].to_pylist()) == {"b", "c", "e"}


def test_restoring_brings_back_the_same_adapter(filled: Filled) -> None:
    bank = filled.bank
    before = bank.require_snapshot()
    delete_documents(bank, ["a", "b"])
    after = restore_documents(bank, ["a"])
    assert after.lookup([("a", 0)]) == before.lookup([("a", 0)]) and set(after.deleted) == {"b"}
    assert restore_documents(bank, ["b"]).index.equals(before.index)


def test_deleting_twice_changes_nothing(filled: Filled) -> None:
    first = delete_documents(filled.bank, ["a"])
    assert delete_documents(filled.bank, ["a"]).name == first.name


def test_ids_that_the_bank_does_not_know_are_named_and_nothing_is_deleted(filled: Filled) -> None:
    with pytest.raises(BankError, match="'nobody'"):
        delete_documents(filled.bank, ["a", "nobody"])
    assert filled.bank.require_snapshot().number == 1
    with pytest.raises(BankError, match="no deletion of document 'a'"):
        restore_documents(filled.bank, ["a"])


def test_a_document_that_left_the_corpus_can_still_be_deleted(filled: Filled, world: World) -> None:
    filled.bank.write_snapshot(world.wanted(filled.documents[1:]))
    assert set(delete_documents(filled.bank, ["a"]).deleted) == {"a"}


def test_a_bank_without_a_snapshot_says_so(tmp_path: Path, world: World) -> None:
    with pytest.raises(BankError, match="no snapshot yet"):
        delete_documents(world.bank(str(tmp_path / "bank")), ["a"])
