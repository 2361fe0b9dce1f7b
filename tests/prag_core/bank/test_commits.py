from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from prag_core.bank import AdapterReader, Bank, Commit, Stage, verify
from prag_core.bank.condemned import condemn
from prag_core.errors import BankError, CorruptBankError
from tests.prag_core.bank.world import Filled, World, object_of


def test_of_raced_attempts_the_snapshot_names_exactly_one_whole_one(bank_uri: str, world: World) -> None:
    world.bank(bank_uri)
    documents = world.documents(["a", "b"])
    augmented = world.augment(Bank.open(bank_uri), "shard", documents)

    def attempt(seed: int) -> Commit:
        return world.train(Bank.open(bank_uri), "shard", documents, augmented.objects, seed=100 * seed)

    with ThreadPoolExecutor(5) as pool:
        returned = list(pool.map(attempt, range(5)))
    bank = Bank.open(bank_uri)
    named = bank.list_commits(Stage.adapters)["shard"]
    assert named in returned
    snapshot = bank.write_snapshot(world.wanted(documents))
    assert {entry.adapter_object for entry in snapshot.lookup([("a", 0), ("b", 0)]).values()} == {
        object_of(named, "adapters").path
    }
    found = AdapterReader(bank, snapshot).fetch([("a", 0), ("b", 0)])
    seeds = [
        seed
        for seed in range(5)
        if (found["a", 0]["layers.0.mlp.gate_proj"].a == _a(world, 100 * seed)).all()
    ]
    assert (
        len(seeds) == 1 and (found["b", 0]["layers.0.mlp.gate_proj"].a == _a(world, 100 * seeds[0] + 1)).all()
    )
    assert not [problem for problem in verify(bank) if problem.severity == "error"]


def _a(world: World, seed: int) -> np.ndarray:
    return world.factors(seed)["layers.0.mlp.gate_proj"].a


def test_a_later_attempt_gets_the_commit_that_was_there_first(filled: Filled, world: World) -> None:
    first = filled.bank.find_commit(Stage.adapters, "shard0")
    again = world.train(filled.bank, "shard0", filled.documents[:2], seed=50)
    assert again == first == filled.bank.find_commit(Stage.adapters, "shard0")


def test_a_marker_replaced_behind_the_winner_is_harmless(filled: Filled, world: World) -> None:
    """What a store without an exclusive put may do: both attempts were told that they won."""
    bank = filled.bank
    marker = Path(bank.root, "commits/adapters/shard0.json")
    marker.unlink()
    again = world.train(bank, "shard0", filled.documents[:2], seed=50)
    assert bank.find_commit(Stage.adapters, "shard0") == again
    after = bank.write_snapshot(world.wanted(filled.documents))
    found = AdapterReader(bank, after).fetch([("a", 0)])["a", 0]["layers.0.mlp.gate_proj"].a
    assert (found == _a(world, 0)).all()  # the catalog keeps what it has taken in


@pytest.mark.parametrize("damage", ["lost", "flipped"])
def test_the_commit_of_the_attempt_stands_in_for_a_marker(filled: Filled, damage: str) -> None:
    marker = Path(filled.bank.root, "commits/adapters/shard0.json")
    before = filled.bank.list_commits(Stage.adapters)
    if damage == "lost":
        marker.unlink()
    else:
        marker.write_bytes(marker.read_bytes().replace(b"shard0", b"shardO"))
    assert filled.bank.list_commits(Stage.adapters) == before
    assert filled.bank.find_commit(Stage.adapters, "shard0") == before["shard0"]


def test_an_attempt_whose_marker_was_never_written_counts(filled: Filled, world: World) -> None:
    """It was killed between its commit and the marker: its work is not lost."""
    documents = world.documents(["e"])
    commit = world.train(
        filled.bank, "shard2", documents, world.augment(filled.bank, "shard2", documents).objects
    )
    Path(filled.bank.root, "commits/adapters/shard2.json").unlink()
    assert filled.bank.find_commit(Stage.adapters, "shard2") == commit
    assert filled.bank.write_snapshot(world.wanted(documents)).counts["adapter"] == 1


def test_what_gc_has_condemned_is_not_committed(filled: Filled, world: World) -> None:
    (document,) = world.documents(["e"])
    source = filled.bank.write_documents("shard2", [document])
    condemn(filled.bank, [source.path])
    with pytest.raises(BankError, match="clears away"):
        world.train(filled.bank, "shard2", [document], [source])
    assert filled.bank.find_commit(Stage.adapters, "shard2") is None


def test_an_attempt_that_died_while_gc_took_its_objects_does_not_count(filled: Filled, world: World) -> None:
    (document,) = world.documents(["e"])
    source = filled.bank.write_documents("shard2", [document])
    world.train(filled.bank, "shard2", [document], [source])
    Path(filled.bank.root, "commits/adapters/shard2.json").unlink()
    Path(filled.bank.root, source.path).unlink()
    assert filled.bank.find_commit(Stage.adapters, "shard2") is None
    assert filled.bank.write_snapshot(world.wanted([document])).index.num_rows == 0


def test_a_commit_names_what_it_was_made_from_even_when_not_told(filled: Filled, world: World) -> None:
    documents = world.documents(["e"])
    augmented = world.augment(filled.bank, "shard2", documents)
    commit = world.train(filled.bank, "shard2", documents)
    assert commit.object("documents") == augmented.object("documents")
    assert commit.object("augmentations") == augmented.object("augmentations")


def test_failures_of_both_stages_reach_the_snapshot_and_own_ones_are_told_apart(
    filled: Filled, world: World
) -> None:
    bank, documents = filled.bank, world.documents(["e", "f", "g"])
    source = bank.write_documents("shard2", documents)
    with bank.begin(Stage.augmentations, "shard2") as writer:
        writer.add(world.failure(documents[0], "augment", attempts=4))
        for document in documents[1:]:
            writer.add(world.augmentation(document))
        augmented = writer.commit([source])
    assert object_of(augmented, "failures").rows == 1
    commit = world.train(bank, "shard2", documents[1:], augmented.objects, failed=["f"])
    assert len(commit.all("failures")) == 2 and object_of(commit, "failures").rows == 1
    snapshot = bank.write_snapshot(world.wanted(documents))
    assert snapshot.counts == {"adapter": 1, "text_only": 0, "failed": 2, "deleted": 0}
    assert {(f.doc_id, f.stage, f.attempts) for f in snapshot.failures} == {
        ("e", "augment", 4),
        ("f", "train", 1),
    }


def test_committed_shards_reads_nothing(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(filled.bank.fs), "cat_file", lambda *a, **k: pytest.fail("an object was read"))
    assert filled.bank.committed_shards(Stage.augmentations) == {"shard0", "shard1"}


def test_a_damaged_marker_is_named(filled: Filled) -> None:
    for path in Path(filled.bank.root, "commits/adapters").glob("shard0*"):
        path.write_bytes(path.read_bytes().replace(b"shard0", b"shardO"))
    with pytest.raises(CorruptBankError, match=r"shard0\.json"):
        filled.bank.find_commit(Stage.adapters, "shard0")


def test_a_marker_of_another_recipe_is_refused(filled: Filled, tmp_path: Path, world: World) -> None:
    world.recipe = type(world.recipe)({"model": "other"})
    other = world.bank(str(tmp_path / "other"))
    world.augment(other, "shard9", world.documents(["z"]))
    target = Path(filled.bank.root, "commits/augmentations/shard9.json")
    target.write_bytes(Path(other.root, "commits/augmentations/shard9.json").read_bytes())
    with pytest.raises(BankError, match="another recipe"):
        filled.bank.list_commits(Stage.augmentations)
