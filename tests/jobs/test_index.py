import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from jobs.cli import main
from prag_core.bank import Bank, Stage
from prag_core.config.schema import RetrievalConfig
from prag_core.identity import Recipe, content_hash
from prag_core.models.lora import AdapterLayout, ModuleShape
from prag_core.records import Document, Factors, Failure
from prag_core.retrieval import open_index

DOCUMENTS = [Document("d1", "Ada was born in Rome."), Document("d2", "Bob makes bread.")]


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    layout = AdapterLayout((ModuleShape("m", 2, 3),), rank=1, alpha=1.0)
    return Bank.create(
        str(tmp_path / "bank"),
        Recipe({"model": "none"}),
        layout,
        {"m": Factors(np.ones((1, 2)), np.zeros((3, 1)))},
    )


def add_snapshot(bank: Bank, documents: Sequence[Document] = DOCUMENTS) -> None:
    rows: list[dict[str, Any]] = [
        {"doc_id": d.doc_id, "chunk": d.chunk, "content_hash": content_hash(d)} for d in documents
    ]
    shard = uuid.uuid4().hex
    with bank.begin(Stage.adapters, shard) as writer:
        for row in rows:
            writer.add(Failure(**row, stage="augment", reason="a test", attempts=1))
        writer.commit([bank.write_documents(shard, documents)])
    bank.write_snapshot(pa.Table.from_pylist(rows))


def test_it_indexes_the_newest_snapshot_and_says_where(
    bank: Bank, capsys: pytest.CaptureFixture[str]
) -> None:
    add_snapshot(bank)
    assert main(["index", f"bank.uri={bank.uri}"]) == 0
    snapshot = bank.latest_snapshot()
    assert snapshot is not None
    said = capsys.readouterr().out
    assert snapshot.name in said
    assert "2 documents indexed in" in said
    assert Path(said.strip().rsplit(": ", 1)[1], "index.json").is_file()
    assert open_index(bank, snapshot, RetrievalConfig()).search(["Who baked bread?"], 3)[0][0].doc_id == "d2"


def test_indexing_again_says_that_it_is_done_and_other_settings_are_another_index(
    bank: Bank, capsys: pytest.CaptureFixture[str]
) -> None:
    add_snapshot(bank)
    for settings, expected in (
        ([], "indexed in"),
        ([], "already indexed"),
        (["retrieval.k1=0.5"], "indexed in"),
    ):
        assert main(["index", f"bank.uri={bank.uri}", *settings]) == 0
        assert f"2 documents {expected}" in capsys.readouterr().out


def test_a_bank_that_is_missing_or_unfinished_is_an_error_that_says_what_to_do(
    bank: Bank, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["index", f"bank.uri={bank.uri}"]) == 1
    assert main(["index", f"bank.uri={tmp_path / 'absent'}"]) == 1
    unfinished, missing = capsys.readouterr().err.splitlines()
    assert "no snapshot yet; run prag parameterize" in unfinished
    assert "no bank here" in missing


def test_settings_that_make_no_index_are_refused_and_leave_nothing(
    bank: Bank, capsys: pytest.CaptureFixture[str]
) -> None:
    add_snapshot(bank)
    assert main(["index", f"bank.uri={bank.uri}", "retrieval.stemmer=klingon"]) == 2
    assert "retrieval.stemmer=klingon: expected one of arabic" in capsys.readouterr().err
    assert not Path(bank.uri, "indexes").exists()


def test_a_corpus_in_a_script_without_spaces_is_found_and_what_is_supported_is_said(
    bank: Bank, capsys: pytest.CaptureFixture[str]
) -> None:
    add_snapshot(bank, [*DOCUMENTS, Document("d3", "東京は日本の首都です。")])
    assert main(["index", f"bank.uri={bank.uri}"]) == 0
    assert "33 % of the documents are in scripts without spaces" in capsys.readouterr().out
    snapshot = bank.latest_snapshot()
    assert snapshot is not None
    assert open_index(bank, snapshot, RetrievalConfig()).search(["首都"], 3)[0][0].doc_id == "d3"
