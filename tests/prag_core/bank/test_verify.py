from __future__ import annotations

import random
from pathlib import Path

import pytest

from prag_core.bank import Bank, Problem, verify
from prag_core.errors import CorruptBankError
from tests.prag_core.bank.world import Filled, World


def errors(bank: Bank) -> list[Problem]:
    return [problem for problem in verify(bank) if problem.severity == "error"]


def test_a_sound_bank_has_nothing_to_report(bank_uri: str, world: World) -> None:
    assert verify(world.fill(world.bank(bank_uri), world.odd_ids, failed=["plain"]).bank) == []


def test_text_only_documents_are_checked_like_the_others(examined: Filled) -> None:
    assert verify(examined.bank) == []
    entry = examined.bank.require_snapshot().lookup([("b", 0)])["b", 0]
    path = Path(examined.bank.path(entry.place.path))
    data = bytearray(path.read_bytes())
    data[entry.place.start] ^= 1
    path.write_bytes(data)
    (problem,) = errors(examined.bank)
    assert "'b' chunk 0" in problem.message


def test_one_flipped_byte_anywhere_names_the_object(filled: Filled) -> None:
    draw = random.Random(0)
    root = Path(filled.bank.root)
    files = sorted(path for path in root.rglob("*") if path.is_file())
    assert len({path.relative_to(root).parts[0] for path in files}) == 11  # every kind of object
    for path in files:
        good = path.read_bytes()
        for place in {0, len(good) - 1, *(draw.randrange(len(good)) for _ in range(3))}:
            path.write_bytes(
                good[:place] + bytes([good[place] ^ (1 << draw.randrange(8))]) + good[place + 1 :]
            )
            named = {problem.path for problem in errors(filled.bank)}
            assert str(path.relative_to(root)) in named, (path, place)
        path.write_bytes(good)
    assert verify(filled.bank) == []


def test_a_missing_or_shortened_object_is_named(filled: Filled) -> None:
    path = next(Path(filled.bank.root, "adapters").iterdir())
    good = path.read_bytes()
    path.write_bytes(good[:-10])
    assert [p.path for p in errors(filled.bank)] == [f"adapters/{path.name}"]
    path.unlink()
    (problem,) = errors(filled.bank)
    assert problem.path == f"adapters/{path.name}" and "missing" in problem.message


def test_a_damaged_adapter_is_named_by_its_document(filled: Filled) -> None:
    entry = filled.bank.require_snapshot().lookup([("b", 0)])["b", 0]
    path = Path(filled.bank.path(entry.place.path))
    data = bytearray(path.read_bytes())
    data[entry.place.start] ^= 1
    path.write_bytes(data)
    (problem,) = errors(filled.bank)
    assert "'b' chunk 0" in problem.message and "'a'" not in problem.message


def test_leftovers_are_information_not_damage(filled: Filled, world: World) -> None:
    world.train(filled.bank, "shard0", filled.documents[:2], seed=9)  # loses to the commit that is there
    found = verify(filled.bank)
    assert {p.severity for p in found} == {"info"} and {p.path.split("/")[0] for p in found} == {
        "adapters",
        "commits",
        "rows",
    }


def test_an_index_that_points_elsewhere_is_noticed(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole in itself, but not of these objects."""
    from prag_core.bank.snapshot import Snapshot

    index = filled.bank.require_snapshot().index
    moved = index.set_column(
        index.column_names.index("start"), "start", [[s and s + 1 for s in index["start"].to_pylist()]]
    )
    monkeypatch.setattr(Snapshot, "index", moved)
    assert {p.path.split("/")[0] for p in errors(filled.bank)} == {"snapshots"}


def test_the_retrieval_indexes_are_checked_too(filled: Filled) -> None:
    from prag_core.config.schema import RetrievalConfig
    from prag_core.retrieval import build_index

    build_index(filled.bank, filled.bank.require_snapshot(), RetrievalConfig())
    assert verify(filled.bank) == []
    files = [
        path
        for path in Path(filled.bank.root, "indexes").rglob("*")
        if path.is_file() and path.stat().st_size
    ]
    path = next(path for path in files if path.name != "index.json")
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)
    assert [p.path for p in errors(filled.bank)] == [str(path.relative_to(filled.bank.root))]


def test_bank_json_itself_is_checked_again(filled: Filled) -> None:
    path = Path(filled.bank.root, "bank.json")
    path.write_bytes(path.read_bytes()[:-1])
    assert "bank.json" in {p.path for p in errors(filled.bank)}
    with pytest.raises(CorruptBankError):
        type(filled.bank).open(filled.bank.uri)
