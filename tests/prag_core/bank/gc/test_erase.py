from __future__ import annotations

from pathlib import Path

from prag_core.bank import Commit, Stage
from prag_core.bank.commits import claim
from prag_core.bank.gc.collect import own_files
from prag_core.bank.gc.erase import erase, find_orphans, resettle, shards_holding
from prag_core.bank.gc.mark import committed_files
from prag_core.bank.publish import Request, publish
from prag_core.bank.tables import WANTED
from tests.prag_core.bank.world import Filled, World, committed, object_of

NOTHING = WANTED.empty_table()


def test_shards_are_found_by_their_adapters_failures_and_augmentations(filled: Filled, world: World) -> None:
    world.augment(filled.bank, "augmented_only", world.documents(["e"]))
    assert shards_holding(filled.bank, ["a"], NOTHING) == ["shard0"]
    assert shards_holding(filled.bank, ["b", "d"], NOTHING) == ["shard0", "shard1"]
    assert shards_holding(filled.bank, ["e"], NOTHING) == ["augmented_only"]
    assert shards_holding(filled.bank, ["nobody"], NOTHING) == []


def test_both_stages_name_the_same_new_objects_and_the_old_ones_stay(filled: Filled) -> None:
    before = committed(filled.bank, Stage.adapters, "shard0")
    erase(filled.bank, "shard0", ["a"], NOTHING)
    trained = committed(filled.bank, Stage.adapters, "shard0")
    augmented = committed(filled.bank, Stage.augmentations, "shard0")
    for kind in ("documents", "augmentations"):
        assert object_of(trained, kind) == object_of(augmented, kind) != object_of(before, kind)
        assert object_of(trained, kind).rows == 1
    assert trained.attempt != before.attempt
    assert all(Path(filled.bank.root, info.path).exists() for info in (*before.objects, *trained.objects))


def test_a_wording_is_erased_and_others_of_its_document_are_not(filled: Filled, world: World) -> None:
    old = filled.documents[0]
    new = type(old)("a", "another wording")
    world.train(filled.bank, "both", [old, new], world.augment(filled.bank, "both", [old, new]).objects)
    wordings = world.wanted([old]).cast(WANTED)
    assert shards_holding(filled.bank, [], wordings) == ["both", "shard0"]
    erase(filled.bank, "both", [], wordings)
    assert filled.bank.read_documents(
        object_of(committed(filled.bank, Stage.adapters, "both"), "documents")
    ) == [new]


def test_two_that_erase_at_once_leave_one_whole_commit(filled: Filled) -> None:
    """Each has read the same commit; both write the next generation."""
    before = committed(filled.bank, Stage.adapters, "shard0")
    erase(filled.bank, "shard0", ["a"], NOTHING)
    first = committed(filled.bank, Stage.adapters, "shard0")
    rival = Commit(Stage.adapters, "shard0", "0" * 16, before.objects, first.generation)
    claim(filled.bank, rival)
    assert committed(filled.bank, Stage.adapters, "shard0") == rival  # the smaller name
    assert all(Path(filled.bank.root, info.path).exists() for info in (*first.objects, *rival.objects))


def test_what_only_the_catalog_names_is_an_orphan_if_it_holds_more(filled: Filled, world: World) -> None:
    """Where another attempt counts, which has the same rows, there is nothing to do."""
    bank, documents = filled.bank, filled.documents
    old = object_of(committed(bank, Stage.adapters, "shard0"), "documents").path

    def orphans() -> dict[str, list[str]]:
        committed = committed_files(bank, own_files(bank).keys())
        found = find_orphans(bank, bank.require_snapshot(), committed)
        return {path: rows["doc_id"].to_pylist() for path, rows in found.items()}

    erase(bank, "shard0", [], NOTHING)
    assert orphans() == {}
    erase(bank, "shard0", ["a", "b"], NOTHING)
    assert orphans() == {}
    bank.write_snapshot(world.wanted(documents[1:]))
    publish(bank, Request(erased=world.wanted(documents[:1]).cast(WANTED)))
    assert orphans() == {old: ["b"]}
    resettle(bank, bank.require_snapshot(), {old: bank.require_snapshot().rows_of(["b"])})
    bank.write_snapshot(world.wanted(documents[1:]))
    assert orphans() == {} and bank.require_snapshot().lookup([("b", 0)])
