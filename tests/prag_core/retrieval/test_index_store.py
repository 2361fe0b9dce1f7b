import threading
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pytest

from prag_core.bank import Bank, Snapshot, Stage
from prag_core.bank.condemned import condemn
from prag_core.bank.gc import collect
from prag_core.bank.sealed import seal, unseal
from prag_core.config.schema import RetrievalConfig
from prag_core.errors import BankError, CorruptBankError
from prag_core.identity import Recipe, content_hash
from prag_core.models.lora import AdapterLayout, ModuleShape
from prag_core.records import Document, Factors, Failure
from prag_core.retrieval import Filter, LexicalIndex, build_index, has_index, index_store, open_index
from prag_core.retrieval.index_store import _fetch_and_check
from prag_core.storage import create_exclusive

SETTINGS = RetrievalConfig()
DOCUMENTS = [
    Document(
        f"d/{i}", f"alpha beta{i} of gamma", f"Title {i}", metadata={"odd": i % 2 == 1, "tags": ["x", i]}
    )
    for i in range(7)
]
QUESTIONS = ["beta3", "alpha title", "nothing", "of the"]


@pytest.fixture(params=["folder", "object store"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "folder":
        yield str(tmp_path / "bank")
        return
    root = f"/{uuid.uuid4().hex}"
    yield f"memory:/{root}"
    fsspec.filesystem("memory").rm(root, recursive=True)


def make_bank(uri: str, documents: list[Document]) -> tuple[Bank, Snapshot]:
    """A bank whose documents were all quarantined: retrieval needs no adapter."""
    layout = AdapterLayout((ModuleShape("m", 2, 3),), rank=1, alpha=1.0)
    bank = Bank.create(
        uri, Recipe({"model": "none"}), layout, {"m": Factors(np.ones((1, 2)), np.zeros((3, 1)))}
    )
    rows = [{"doc_id": d.doc_id, "chunk": d.chunk, "content_hash": content_hash(d)} for d in documents]
    shard = uuid.uuid4().hex
    with bank.begin(Stage.adapters, shard) as writer:
        for document in documents:
            content = content_hash(document)
            writer.add(Failure(*document.key, content, stage="augment", reason="a test", attempts=1))
        writer.commit([bank.write_documents(shard, documents)])
    schema = pa.schema([("doc_id", pa.string()), ("chunk", pa.int32()), ("content_hash", pa.string())])
    return bank, bank.write_snapshot(pa.Table.from_pylist(rows, schema))


def files_of(bank: Bank) -> dict[str, bytes]:
    return {path: bank.fs.cat_file(path) for path in bank.fs.find(bank.path("indexes"))}


def test_an_opened_index_answers_as_the_one_that_was_built(uri: str) -> None:
    bank, snapshot = make_bank(uri, DOCUMENTS)
    build_index(bank, snapshot, SETTINGS)
    opened = open_index(bank, snapshot, SETTINGS)
    assert opened.search(QUESTIONS, 5) == LexicalIndex.build(DOCUMENTS, SETTINGS).search(QUESTIONS, 5)
    assert len(opened) == len(DOCUMENTS)


def test_an_opened_index_filters_as_the_one_that_was_built(uri: str) -> None:
    bank, snapshot = make_bank(uri, DOCUMENTS)
    build_index(bank, snapshot, SETTINGS)
    opened, built = open_index(bank, snapshot, SETTINGS), LexicalIndex.build(DOCUMENTS, SETTINGS)
    for where in (
        Filter.parse({"odd": True}),
        Filter.parse({"tags": [1, 2]}),
        Filter.parse({"tags": "x", "odd": False}),
    ):
        found = opened.search(QUESTIONS, 5, where)
        assert found == built.search(QUESTIONS, 5, where) and any(found)
        assert all(
            where.allows(DOCUMENTS[int(p.doc_id[2:])].metadata) for passages in found for p in passages
        )


def test_an_index_without_words_can_be_kept(uri: str) -> None:
    bank, snapshot = make_bank(uri, [Document("a", "?!")])
    build_index(bank, snapshot, SETTINGS)
    assert open_index(bank, snapshot, SETTINGS).search(["the"], 3) == [[]]


def test_building_again_changes_nothing(uri: str) -> None:
    bank, snapshot = make_bank(uri, DOCUMENTS)
    assert not has_index(bank, snapshot, SETTINGS)
    where = build_index(bank, snapshot, SETTINGS)
    before = files_of(bank)
    assert build_index(bank, snapshot, SETTINGS) == where
    assert has_index(bank, snapshot, SETTINGS)
    assert files_of(bank) == before


def test_other_settings_and_other_snapshots_are_other_indexes_but_top_k_is_not(uri: str) -> None:
    bank, first = make_bank(uri, DOCUMENTS)
    build_index(bank, first, SETTINGS)
    assert has_index(bank, first, RetrievalConfig(top_k=9))
    assert not has_index(bank, first, RetrievalConfig(k1=2.0))
    _, second = make_bank(uri, DOCUMENTS[:3])
    with pytest.raises(BankError, match=r"no index.*prag index"):
        open_index(bank, second, SETTINGS)
    build_index(bank, second, SETTINGS)
    assert [len(open_index(bank, snapshot, SETTINGS)) for snapshot in (first, second)] == [7, 3]


def test_every_changed_or_missing_file_is_noticed_and_named(uri: str) -> None:
    bank, snapshot = make_bank(uri, DOCUMENTS)
    build_index(bank, snapshot, SETTINGS)
    for path, data in files_of(bank).items():
        bank.fs.pipe_file(path, data[:-1] + bytes([data[-1] ^ 1]))
        with pytest.raises(CorruptBankError, match=path.rsplit("/", 1)[-1]):
            open_index(bank, snapshot, SETTINGS)
        bank.fs.pipe_file(path, data)
    missing = next(path for path in files_of(bank) if path.endswith("documents.arrow"))
    bank.fs.rm_file(missing)
    with pytest.raises(CorruptBankError, match=r"documents\.arrow is missing"):
        open_index(bank, snapshot, SETTINGS)


def test_an_unfinished_index_is_not_seen(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bank, snapshot = make_bank(uri, DOCUMENTS)
    with monkeypatch.context() as patch:
        patch.setattr(
            "prag_core.retrieval.index_store.create_exclusive",
            lambda *_: (_ for _ in ()).throw(KeyboardInterrupt),
        )
        with pytest.raises(KeyboardInterrupt):
            build_index(bank, snapshot, SETTINGS)
    assert not has_index(bank, snapshot, SETTINGS)
    build_index(bank, snapshot, SETTINGS)
    assert len(open_index(bank, snapshot, SETTINGS)) == len(DOCUMENTS)


def test_of_racing_builders_one_counts_and_the_index_is_whole(uri: str) -> None:
    bank, snapshot = make_bank(uri, DOCUMENTS)
    threads = [threading.Thread(target=build_index, args=(bank, snapshot, SETTINGS)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(path.endswith("/index.json") for path in files_of(bank)) == 1
    assert open_index(bank, snapshot, SETTINGS).search(["beta3"], 1)[0][0].doc_id == "d/3"


def test_an_index_of_another_analyzer_is_not_searched_but_built_again(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank, snapshot = make_bank(uri, DOCUMENTS)
    with monkeypatch.context() as earlier:
        earlier.setattr("prag_core.retrieval.index_store.FORMAT", 2)
        build_index(bank, snapshot, SETTINGS)
    assert not has_index(bank, snapshot, SETTINGS)
    with pytest.raises(BankError, match=r"no index .*this version can read.*prag index"):
        open_index(bank, snapshot, SETTINGS)
    build_index(bank, snapshot, SETTINGS)
    assert len(open_index(bank, snapshot, SETTINGS)) == len(DOCUMENTS)


def test_an_index_that_names_files_elsewhere_writes_and_reads_none_there(uri: str, tmp_path: Path) -> None:
    """Sealed rightly, as whoever hands a bank on can: the seal says that bytes did not change, not who wrote them."""
    bank, snapshot = make_bank(uri, DOCUMENTS)
    marker = f"{build_index(bank, snapshot, SETTINGS)}/index.json"
    fields = unseal(bank.fs.cat_file(marker), marker)
    target = tmp_path / "outside"
    for change in (
        {"files": [{**fields["files"][0], "name": str(target)}]},
        {"files": [{**fields["files"][0], "name": "../../outside"}]},
        {"files": [{**fields["files"][0], "name": "other.npy"}]},
        {"files": {"name": "documents.arrow"}},
        {"files": [3]},
        {"attempt": "../" * 9 + str(tmp_path)},
        {"attempt": None},
        {"settings": {"no_such": 1}},
        {"postings": "many"},
    ):
        bank.fs.pipe_file(marker, seal(fields | change))
        with pytest.raises(CorruptBankError, match=r"index\.json"):
            open_index(bank, snapshot, SETTINGS)
        assert not target.exists()


def test_an_index_whose_files_gc_has_condemned_does_not_count(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank, snapshot = make_bank(uri, DOCUMENTS)

    def condemned_before(*arguments: Any) -> bool:
        condemn(bank, [path.removeprefix(f"{bank.root}/") for path in files_of(bank)])
        return create_exclusive(*arguments)

    monkeypatch.setattr(index_store, "create_exclusive", condemned_before)
    with pytest.raises(BankError, match="garbage collection clears away"):
        build_index(bank, snapshot, SETTINGS)
    assert not has_index(bank, snapshot, SETTINGS)


def test_an_index_whose_marker_is_older_than_gcs_record_is_spared(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """gc has listed its files, and neither they nor the marker in that listing keep each other."""
    bank, snapshot = make_bank(uri, DOCUMENTS)
    marker = f"{build_index(bank, snapshot, SETTINGS)}/index.json"
    data = bank.fs.cat_file(marker)
    bank.fs.rm_file(marker)

    def condemn_after(store: Bank, files: set[str]) -> str:
        assert any(name.startswith("indexes/") for name in files)
        bank.fs.pipe_file(marker, data)
        return condemn(store, files)

    monkeypatch.setattr(collect, "condemn", condemn_after)
    collect.gc(bank, timedelta(0), dry_run=False, force=True)
    assert len(open_index(bank, snapshot, SETTINGS)) == len(DOCUMENTS)


def test_a_fetched_file_has_its_name_only_when_its_digest_is_right(tmp_path: Path) -> None:
    fs = fsspec.filesystem("memory")
    fs.pipe_file("/a-file", b"other bytes")
    with pytest.raises(CorruptBankError, match="a-file is damaged"):
        _fetch_and_check(fs, "/a-file", tmp_path / "a-file", "0" * 64)
    assert not (tmp_path / "a-file").exists()
    fs.rm_file("/a-file")
