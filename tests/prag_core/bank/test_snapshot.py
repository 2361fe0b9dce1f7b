from __future__ import annotations

import random
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from prag_core.bank import Bank, Snapshot, Stage, delete_documents
from prag_core.bank.deletions import write_event
from prag_core.errors import BankError, CorruptBankError
from tests.prag_core.bank.world import Filled, World, committed, object_of


def test_it_holds_what_is_wanted_and_committed(filled: Filled, world: World) -> None:
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


def test_the_keys_of_documents_are_those_of_all_their_chunks_that_it_has(
    filled: Filled, world: World
) -> None:
    assert filled.bank.require_snapshot().keys_of(["d", "b", "nobody"]) == [("b", 0), ("d", 0)]
    chunked = [type(filled.documents[0])("e", "its second half", chunk=1)]
    world.train(filled.bank, "chunked", chunked, world.augment(filled.bank, "chunked", chunked).objects)
    assert filled.bank.write_snapshot(world.wanted([*filled.documents, *chunked])).keys_of({"e"}) == [
        ("e", 1)
    ]


def test_an_edited_document_is_not_served_by_its_old_adapter(filled: Filled, world: World) -> None:
    edited = world.documents(["a", "b"])[1:]
    edited = [type(edited[0])("b", "another text")]
    snapshot = filled.bank.write_snapshot(world.wanted([filled.documents[0], *edited]))
    assert list(snapshot.lookup([("a", 0), ("b", 0)])) == [("a", 0)]


def test_the_same_again_writes_nothing(filled: Filled, world: World) -> None:
    before = set(filled.bank.fs.find(filled.bank.root))
    shuffled = random.Random(0).sample(filled.documents, 4)
    assert filled.bank.write_snapshot(world.wanted(shuffled)).name == filled.bank.require_snapshot().name
    assert set(filled.bank.fs.find(filled.bank.root)) == before


def test_records_come_back_whole(bank_uri: str, world: World) -> None:
    filled = world.fill(world.bank(bank_uri), world.odd_ids, failed=["plain"])
    snapshot = Bank.open(bank_uri).require_snapshot()
    assert sorted(snapshot.documents(), key=lambda d: d.key) == sorted(filled.documents, key=lambda d: d.key)
    assert snapshot.augmentations(filled.keys) == {d.key: world.augmentation(d) for d in filled.documents[1:]}
    assert snapshot.failures == [world.failure(filled.documents[0])]
    assert snapshot.index["doc_id"].to_pylist() == sorted(world.odd_ids)


def test_an_adapter_wins_over_a_failure_and_the_choice_is_the_same_every_time(
    filled: Filled, world: World
) -> None:
    bank, (failed,) = filled.bank, filled.documents[3:]
    for shard in ("retry1", "retry2"):
        world.augment(bank, shard, [failed])
        world.train(bank, shard, [failed])
    first = bank.write_snapshot(world.wanted(filled.documents))
    assert first.counts["failed"] == 0
    entry = first.lookup([failed.key])[failed.key]
    assert entry.adapter_object == min(
        object_of(committed(bank, Stage.adapters, s), "adapters").path for s in ("retry1", "retry2")
    )
    assert bank.write_snapshot(world.wanted(filled.documents)).name == first.name


def test_a_document_whose_adapter_was_not_accepted_is_text_only_with_its_score_and_why(
    examined: Filled,
) -> None:
    snapshot = examined.bank.require_snapshot()
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
    examined: Filled, world: World
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


def test_raced_snapshots_are_whole_and_the_reader_takes_one(bank_uri: str, world: World) -> None:
    filled = world.fill(world.bank(bank_uri))

    def write(number: int) -> Snapshot:
        return Bank.open(bank_uri).write_snapshot(world.wanted(filled.documents[: number + 1]))

    with ThreadPoolExecutor(3) as pool:
        written = list(pool.map(write, range(3)))
    assert [snapshot.counts["adapter"] for snapshot in written] == [1, 2, 3]
    everything = Bank.open(bank_uri).snapshots()
    numbers = [snapshot.number for snapshot in everything]
    assert numbers == sorted(set(numbers), reverse=True) and {s.name for s in written} <= {
        s.name for s in everything
    }
    assert Bank.open(bank_uri).require_snapshot().name == everything[0].name
    assert all(snapshot.index.num_rows == snapshot.counts["adapter"] for snapshot in everything)


def test_a_damaged_manifest_or_part_is_named(filled: Filled) -> None:
    snapshot = filled.bank.require_snapshot()
    part = Path(filled.bank.path(snapshot.parts[0].info.path))
    part.write_bytes(part.read_bytes()[:-1] + b"\0")
    with pytest.raises(CorruptBankError, match=part.name):
        filled.bank.require_snapshot().lookup([("a", 0)])
    manifest = Path(filled.bank.path(f"snapshots/{snapshot.name}/manifest.json"))
    manifest.write_bytes(manifest.read_bytes().replace(b'"number": 1', b'"number": 2'))
    with pytest.raises(CorruptBankError, match=r"manifest\.json"):
        filled.bank.require_snapshot()


@pytest.mark.parametrize("lost", ["manifest", "folder", "claim"])
def test_a_lost_newest_snapshot_is_an_error_that_names_it_and_not_the_one_before(
    filled: Filled, lost: str
) -> None:
    newest = delete_documents(filled.bank, ["a"])
    folder = Path(filled.bank.path(f"snapshots/{newest.name}"))
    if lost == "claim":
        Path(filled.bank.path("published/00000002.json")).unlink()
    elif lost == "manifest":
        (folder / "manifest.json").unlink()
    else:
        shutil.rmtree(folder)
    with pytest.raises(CorruptBankError, match=newest.name):
        filled.bank.latest_snapshot()
    with pytest.raises(CorruptBankError, match=newest.name):
        filled.bank.write_snapshot(filled.bank.snapshots()[0].index)


def test_a_deletion_is_in_force_for_whoever_opens_any_snapshot_afterwards(filled: Filled) -> None:
    """Even if the snapshot that tells of it was never published."""
    write_event(filled.bank, "delete", ["a"])
    snapshot = filled.bank.require_snapshot()
    assert not snapshot.lookup([("a", 0)]) and "a" not in snapshot.index["doc_id"].to_pylist()
    assert (
        snapshot.keys_of(["a"]) == [] and snapshot.counts["adapter"] == 2 and snapshot.counts["deleted"] == 1
    )
    assert "a" not in {document.doc_id for document in snapshot.documents()}


def test_documents_that_were_never_kept_are_asked_for_in_vain(filled: Filled, world: World) -> None:
    (document,) = world.documents(["e"])
    world.train(filled.bank, "shard2", [document])
    snapshot = filled.bank.write_snapshot(world.wanted([document]))
    with pytest.raises(BankError, match="no documents were kept"):
        list(snapshot.documents())


def test_many_keys_are_looked_up_as_few_are(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    from prag_core.bank import snapshot

    keys = [("a", 0), ("a", 1), ("c", 0), ("zz", 0), ("", 0), ("d", 0)]
    found = []
    for cost in (0, 10**9):
        monkeypatch.setattr(snapshot, "SEARCH_COST", cost)
        found.append(filled.bank.require_snapshot().lookup(keys))
    assert found[0] == found[1] and set(found[0]) == {("a", 0), ("c", 0), ("d", 0)}
