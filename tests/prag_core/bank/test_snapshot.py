from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from prag_core.bank import Bank, Stage, delete_documents, tables
from prag_core.bank.publish import select_rows
from prag_core.errors import BankError, CorruptBankError


def test_it_holds_what_is_wanted_and_committed(filled: Any, world: Any) -> None:
    stranger = world.documents(["not committed"])
    snapshot = filled.bank.write_snapshot(world.wanted([*filled.documents[1:], *stranger]))
    assert (
        snapshot.counts == {"adapter": 2, "text_only": 0, "failed": 1, "deleted": 0} and snapshot.number == 2
    )
    assert set(snapshot.lookup([(name, 0) for name in ("a", "b", "c", "d", "not committed")])) == {
        ("b", 0),
        ("c", 0),
        ("d", 0),
    }


def test_the_keys_of_documents_are_those_of_all_their_chunks_that_it_has(filled: Any, world: Any) -> None:
    assert filled.bank.latest_snapshot().keys_of(["d", "b", "nobody"]) == [("b", 0), ("d", 0)]
    chunked = [type(filled.documents[0])("e", "its second half", chunk=1)]
    world.train(filled.bank, "chunked", chunked, world.augment(filled.bank, "chunked", chunked).objects)
    assert filled.bank.write_snapshot(world.wanted([*filled.documents, *chunked])).keys_of({"e"}) == [
        ("e", 1)
    ]


def test_an_edited_document_is_not_served_by_its_old_adapter(filled: Any, world: Any) -> None:
    edited = world.documents(["a", "b"])[1:]
    edited = [type(edited[0])("b", "another text")]
    snapshot = filled.bank.write_snapshot(world.wanted([filled.documents[0], *edited]))
    assert list(snapshot.lookup([("a", 0), ("b", 0)])) == [("a", 0)]


def test_the_same_again_writes_nothing(filled: Any, world: Any) -> None:
    before = set(filled.bank.fs.find(filled.bank.root))
    shuffled = random.Random(0).sample(filled.documents, 4)
    assert filled.bank.write_snapshot(world.wanted(shuffled)).name == filled.bank.latest_snapshot().name
    assert set(filled.bank.fs.find(filled.bank.root)) == before


def test_records_come_back_whole(bank_uri: str, world: Any) -> None:
    filled = world.fill(world.bank(bank_uri), world.odd_ids, failed=["plain"])
    snapshot = Bank.open(bank_uri).latest_snapshot()
    assert sorted(snapshot.documents(), key=lambda d: d.key) == sorted(filled.documents, key=lambda d: d.key)
    assert snapshot.augmentations(filled.keys) == {d.key: world.augmentation(d) for d in filled.documents[1:]}
    assert snapshot.failures == [world.failure(filled.documents[0])]
    assert snapshot.index["doc_id"].to_pylist() == sorted(world.odd_ids)


def test_an_adapter_wins_over_a_failure_and_the_choice_is_the_same_every_time(
    filled: Any, world: Any
) -> None:
    bank, (failed,) = filled.bank, filled.documents[3:]
    for shard in ("retry1", "retry2"):
        world.augment(bank, shard, [failed])
        world.train(bank, shard, [failed])
    first = bank.write_snapshot(world.wanted(filled.documents))
    assert first.counts["failed"] == 0
    entry = first.lookup([failed.key])[failed.key]
    assert entry.adapter_object == min(
        bank.find_commit(Stage.adapters, s).object("adapters").path for s in ("retry1", "retry2")
    )
    assert bank.write_snapshot(world.wanted(filled.documents)).name == first.name


def test_a_document_whose_adapter_was_not_accepted_is_text_only_with_its_score_and_why(examined: Any) -> None:
    snapshot = examined.bank.latest_snapshot()
    assert snapshot.counts == {"adapter": 2, "text_only": 1, "failed": 1, "deleted": 0}
    entries = {key[0]: entry for key, entry in snapshot.lookup([(name, 0) for name in "abcd"]).items()}
    assert [entries[name].status for name in "abcd"] == ["adapter", "text_only", "adapter", "failed"]
    assert [entries[name].score for name in "abcd"] == [1.0, 0.25, 0.5, None]
    why = "its adapter answered 25% of the document's own questions, 50% are asked for"
    assert (entries["b"].stage, entries["b"].reason) == ("acceptance", why) and entries["b"].adapter_object
    assert [entries[name].unusable for name in "abcd"] == [
        None,
        f"text_only: {why}",
        None,
        "quarantined at train: too long",
    ]
    assert [failure.doc_id for failure in snapshot.failures] == ["d"]
    assert (
        len(list(snapshot.documents())) == 4
        and len(snapshot.augmentations([d.key for d in examined.documents])) == 4
    )


def test_an_accepted_adapter_wins_over_one_that_was_not_and_that_over_a_failure(
    examined: Any, world: Any
) -> None:
    bank, documents = examined.bank, examined.documents
    world.augment(bank, "retry", documents)
    with bank.begin(Stage.adapters, "retry") as writer:
        for number, accepted in ((0, False), (1, True), (3, False)):
            writer.add(world.examined(documents[number], number, 0.75 * accepted, accepted=accepted))
        writer.commit()
    index = bank.write_snapshot(world.wanted(documents)).index.to_pydict()
    assert index["status"] == ["adapter", "adapter", "adapter", "text_only"] and index["score"] == [
        1.0,
        0.75,
        0.5,
        0.0,
    ]


def test_an_index_from_before_there_were_exams_is_read(
    filled: Any, monkeypatch: pytest.MonkeyPatch, world: Any
) -> None:
    older = tables.INDEX.remove(tables.INDEX.get_field_index("score"))
    with monkeypatch.context() as patch:
        patch.setattr(tables, "INDEX", older)
        snapshot = filled.bank.write_snapshot(world.wanted(filled.documents[:3]))
    assert pq.read_schema(filled.bank.path(f"snapshots/{snapshot.name}/index.parquet")).names == older.names
    entries = Bank.open(filled.bank.uri).latest_snapshot().lookup([("a", 0)])
    assert (entries["a", 0].status, entries["a", 0].score) == ("adapter", None)


def test_raced_snapshots_are_whole_and_the_reader_takes_one(bank_uri: str, world: Any) -> None:
    filled = world.fill(world.bank(bank_uri))

    def write(number: int) -> Any:
        return Bank.open(bank_uri).write_snapshot(world.wanted(filled.documents[: number + 1]))

    with ThreadPoolExecutor(3) as pool:
        written = list(pool.map(write, range(3)))
    assert [snapshot.counts["adapter"] for snapshot in written] == [1, 2, 3]
    everything = Bank.open(bank_uri).snapshots()
    assert [(-s.number, s.digest) for s in everything] == sorted((-s.number, s.digest) for s in everything)
    assert Bank.open(bank_uri).latest_snapshot().name == everything[0].name
    assert all(snapshot.index.num_rows == snapshot.counts["adapter"] for snapshot in everything)


def test_a_deletion_is_not_lost_to_a_run_that_races_it(
    filled: Any, world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run has read the newest snapshot; before it writes its own, a deletion gets in with the same number."""
    from prag_core.bank import publish

    original, raced = publish._place, []

    def place(bank: Bank, *rest: Any) -> Any:
        if not raced:
            raced.append(True)
            delete_documents(bank, ["a"])
        return original(bank, *rest)

    monkeypatch.setattr(publish, "_place", place)
    filled.bank.write_snapshot(world.wanted(filled.documents[:2]))
    newest = filled.bank.latest_snapshot()
    assert set(newest.deleted) == {"a"} and set(newest.lookup([("a", 0), ("b", 0), ("c", 0)])) == {("b", 0)}


def test_a_damaged_manifest_or_index_is_named(filled: Any) -> None:
    name = filled.bank.latest_snapshot().name
    index = Path(filled.bank.root, "snapshots", name, "index.parquet")
    index.write_bytes(index.read_bytes()[:-1] + b"\0")
    with pytest.raises(CorruptBankError, match=r"index\.parquet"):
        filled.bank.latest_snapshot().lookup([("a", 0)])
    manifest = index.with_name("manifest.json")
    manifest.write_bytes(manifest.read_bytes().replace(b'"adapter": 3', b'"adapter": 4'))
    with pytest.raises(CorruptBankError, match=r"manifest\.json"):
        filled.bank.latest_snapshot()


def test_documents_that_were_never_kept_are_asked_for_in_vain(filled: Any, world: Any) -> None:
    (document,) = world.documents(["e"])
    world.train(filled.bank, "shard2", [document])
    snapshot = filled.bank.write_snapshot(world.wanted([document]))
    with pytest.raises(BankError, match="no documents were kept"):
        list(snapshot.documents())


def test_many_keys_are_looked_up_as_few_are(filled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from prag_core.bank import snapshot

    keys = [("a", 0), ("a", 1), ("c", 0), ("zz", 0), ("", 0), ("d", 0)]
    few = filled.bank.latest_snapshot().lookup(keys)
    monkeypatch.setattr(snapshot, "BULK", 1)
    assert filled.bank.latest_snapshot().lookup(keys) == few and set(few) == {("a", 0), ("c", 0), ("d", 0)}


def test_rows_are_selected_as_a_plain_loop_would() -> None:
    draw = np.random.default_rng(0)
    rows = []
    for number in range(400):
        status = ["adapter", "failed"][int(draw.integers(2))]
        rows.append(
            {
                "doc_id": f"d{draw.integers(40)}",
                "chunk": int(draw.integers(2)),
                "content_hash": f"h{draw.integers(2)}",
                "status": status,
                "adapter_object": f"o{number}" if status == "adapter" else None,
                "attempts": None if status == "adapter" else int(draw.integers(5)),
                "reason": f"r{number}",
            }
        )
    wanted = [
        {"doc_id": f"d{i}", "chunk": c, "content_hash": f"h{(i + c) % 2}"} for i in range(60) for c in (0, 1)
    ]
    found = select_rows(
        tables.index_rows(pa.Table.from_pylist(rows), {}), pa.Table.from_pylist(wanted, tables.WANTED)
    )

    best: dict[Any, Any] = {}
    for row in rows:
        if {name: row[name] for name in ("doc_id", "chunk", "content_hash")} in wanted:
            rank = (row["status"], row["adapter_object"] or "", -(row["attempts"] or 0), row["reason"])
            key = (row["doc_id"], row["chunk"])
            best[key] = min(best.get(key, (rank, row)), (rank, row), key=lambda ranked: ranked[0])
    expected = [best[key][1] for key in sorted(best)]
    assert [{name: row[name] for name in expected[0]} for row in found.to_pylist()] == expected
