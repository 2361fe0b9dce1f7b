from __future__ import annotations

import random
from pathlib import Path

import pytest

from prag_core.bank import AdapterReader, Bank, Stage, delete_documents, repair, verify
from prag_core.errors import BankError
from tests.prag_core.bank.world import Filled, World


def flip(path: Path, place: int = -1) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def one(bank: Bank, pattern: str) -> Path:
    (path,) = Path(bank.root).glob(pattern)
    return path


def is_sound(bank: Bank) -> bool:
    return not [problem for problem in verify(bank) if problem.severity == "error"]


def test_a_sound_bank_is_left_as_it_is(filled: Filled) -> None:
    report = repair(filled.bank, dry_run=False)
    assert (report.damaged, report.documents) == ((), ()) and filled.bank.require_snapshot().number == 1


def test_a_dry_run_names_and_changes_nothing(filled: Filled) -> None:
    flip(one(filled.bank, "rows/shard0-*"))
    before = {path: path.read_bytes() for path in Path(filled.bank.root).rglob("*") if path.is_file()}
    report = repair(filled.bank)
    assert {problem.path.split("/")[0] for problem in report.damaged} == {"rows"}
    assert before == {path: path.read_bytes() for path in Path(filled.bank.root).rglob("*") if path.is_file()}


def test_adapters_beside_a_damaged_one_are_kept_and_its_document_is_new(filled: Filled, world: World) -> None:
    bank = filled.bank
    entry = bank.require_snapshot().lookup([("b", 0)])["b", 0]
    flip(Path(bank.path(entry.place.path)), entry.place.start)
    report = repair(bank, dry_run=False)
    assert report.documents == ("b",) and not report.beyond_repair and is_sound(bank)
    assert one(bank, f"{report.folder}/adapters/shard0-*").exists()
    snapshot = bank.require_snapshot()
    found = AdapterReader(bank, snapshot).fetch([("a", 0), ("c", 0)])
    for name in found["a", 0]:
        assert (found["a", 0][name].a == filled.factors["a", 0][name].a).all()
    assert "b" not in bank.committed_rows()["doc_id"].to_pylist()
    world.augment(bank, "again", filled.documents[1:2])
    world.train(bank, "again", filled.documents[1:2])
    assert bank.write_snapshot(world.wanted(filled.documents)).counts["adapter"] == 3 and is_sound(bank)


@pytest.mark.parametrize("kind", ["documents", "augmentations"])
@pytest.mark.parametrize("how", ["lost", "flipped"])
def test_a_shard_whose_texts_are_lost_is_new_and_the_others_stay(filled: Filled, kind: str, how: str) -> None:
    path = one(filled.bank, f"{kind}/shard0-*")
    path.unlink() if how == "lost" else flip(path)
    assert repair(filled.bank, dry_run=False).documents == ("a", "b") and is_sound(filled.bank)
    assert filled.bank.require_snapshot().index["doc_id"].to_pylist() == ["c", "d"]
    assert filled.bank.committed_shards(Stage.adapters) == {"shard1"}


@pytest.mark.parametrize(
    "pattern",
    [
        "commits/adapters/shard0.json",
        "commits/adapters/shard0.0-*",
        "published/*",
        "snapshots/*/published.json",
        "rows/shard0-*",
        "snapshots/*/manifest.json",
        "catalog/*-0.parquet",
        "catalog/*-objects.parquet",
        "catalog/*-commits.parquet",
    ],
)
@pytest.mark.parametrize("how", ["lost", "flipped"])
def test_what_can_be_had_again_is_restored_and_no_document_is_lost(
    filled: Filled, pattern: str, how: str
) -> None:
    path = one(filled.bank, pattern)
    path.unlink() if how == "lost" else flip(path, len(path.read_bytes()) // 2)
    report = repair(filled.bank, dry_run=False)
    assert not report.documents and not report.beyond_repair and is_sound(filled.bank)
    snapshot = filled.bank.require_snapshot()
    assert snapshot.index["doc_id"].to_pylist() == ["a", "b", "c", "d"] and snapshot.counts["adapter"] == 3
    assert set(AdapterReader(filled.bank, snapshot).fetch(filled.keys)) == set(filled.keys)


def test_what_was_deleted_stays_deleted_when_the_newest_snapshot_is_built_again(filled: Filled) -> None:
    newest = delete_documents(filled.bank, ["a"])
    Path(filled.bank.path(f"snapshots/{newest.name}/manifest.json")).unlink()
    with pytest.raises(BankError, match="repair"):
        filled.bank.require_snapshot()
    repair(filled.bank, dry_run=False)
    assert filled.bank.require_snapshot().index["doc_id"].to_pylist() == ["b", "c", "d"] and is_sound(
        filled.bank
    )


def test_a_damaged_deletion_is_written_again_from_the_snapshot_that_knows_it(filled: Filled) -> None:
    delete_documents(filled.bank, ["a"])
    flip(one(filled.bank, "deletions/*"), 40)
    assert not is_sound(filled.bank)
    assert not repair(filled.bank, dry_run=False).beyond_repair and is_sound(filled.bank)
    assert set(filled.bank.require_snapshot().deleted) == {"a"}


def test_what_has_no_second_copy_is_named_as_beyond_repair(filled: Filled) -> None:
    path = one(filled.bank, "init/*")
    flip(path)
    (problem,) = repair(filled.bank, dry_run=False).beyond_repair
    assert problem.path == f"init/{path.name}" and path.exists()


def test_a_deletion_does_not_wait_for_damage_elsewhere(filled: Filled, world: World) -> None:
    new = world.documents(["e"])
    world.train(filled.bank, "shard2", new, world.augment(filled.bank, "shard2", new).objects)
    for pattern in ("rows/shard2-*", "adapters/shard1-*", "documents/shard1-*"):
        flip(one(filled.bank, pattern))
    assert set(delete_documents(filled.bank, ["a"]).deleted) == {"a"}


@pytest.mark.parametrize("seed", range(4))
def test_after_any_damage_one_repair_leaves_a_sound_bank(filled: Filled, world: World, seed: int) -> None:
    draw = random.Random(seed)
    delete_documents(filled.bank, ["c"])
    root = Path(filled.bank.root)
    files = sorted(path for path in root.rglob("*") if path.is_file())
    spared = ("bank.json", "init", "deletions")
    for path in draw.sample([p for p in files if p.relative_to(root).parts[0] not in spared], 4):
        path.unlink() if draw.random() < 0.5 else flip(path, draw.randrange(len(path.read_bytes())))
    repair(filled.bank, dry_run=False)
    assert is_sound(filled.bank)
    for document in filled.documents[:2]:
        name = f"again{document.doc_id}"
        world.train(filled.bank, name, [document], world.augment(filled.bank, name, [document]).objects)
    snapshot = filled.bank.write_snapshot(world.wanted(filled.documents))
    assert {"a", "b"} <= set(snapshot.index["doc_id"].to_pylist()) and set(snapshot.deleted) == {"c"}
