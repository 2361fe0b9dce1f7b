from __future__ import annotations

from pathlib import Path

from prag_core.bank import Stage
from prag_core.bank.gc.erase import erase, shards_holding
from tests.prag_core.bank.world import Filled, World, committed, object_of


def test_shards_are_found_by_their_adapters_failures_and_augmentations(filled: Filled, world: World) -> None:
    world.augment(filled.bank, "augmented only", world.documents(["e"]))
    assert shards_holding(filled.bank, ["a"]) == ["shard0"]
    assert shards_holding(filled.bank, ["b", "d"]) == ["shard0", "shard1"]
    assert shards_holding(filled.bank, ["e"]) == ["augmented only"]
    assert shards_holding(filled.bank, ["nobody"]) == []


def test_both_stages_name_the_same_new_objects_and_the_old_ones_stay(filled: Filled) -> None:
    before = committed(filled.bank, Stage.adapters, "shard0")
    erase(filled.bank, "shard0", ["a"])
    trained = committed(filled.bank, Stage.adapters, "shard0")
    augmented = committed(filled.bank, Stage.augmentations, "shard0")
    for kind in ("documents", "augmentations"):
        assert object_of(trained, kind) == object_of(augmented, kind) != object_of(before, kind)
        assert object_of(trained, kind).rows == 1
    assert trained.attempt != before.attempt
    assert all(Path(filled.bank.root, info.path).exists() for info in (*before.objects, *trained.objects))
