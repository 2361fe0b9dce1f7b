from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pytest

from prag_core.bank import Bank, Commit, Stage, delete_documents, publish, tables
from prag_core.bank.condemned import condemn
from prag_core.bank.layout import new_attempt
from prag_core.bank.publish import Request
from prag_core.bank.store import BankStore
from prag_core.errors import BankError
from tests.prag_core.bank.world import Filled, World


def test_a_deletion_is_not_lost_to_a_run_that_races_it(
    filled: Filled, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run has read the newest snapshot; before it claims its own, a deletion gets in with the same number."""
    original = publish._claim
    raced: list[bool] = []

    def claim(bank: Bank, manifest: dict[str, Any], attempt: str) -> Any:
        if not raced:
            raced.append(True)
            delete_documents(bank, ["a"])
        return original(bank, manifest, attempt)

    monkeypatch.setattr(publish, "_claim", claim)
    filled.bank.write_snapshot(world.wanted(filled.documents[:2]))
    newest = filled.bank.require_snapshot()
    assert set(newest.deleted) == {"a"} and set(newest.lookup([("a", 0), ("b", 0), ("c", 0)])) == {("b", 0)}


def test_of_many_that_delete_at_once_nobodys_deletion_is_missing(bank_uri: str, world: World) -> None:
    filled = world.fill(world.bank(bank_uri), [f"d{n}" for n in range(12)])

    def delete(n: int) -> set[str]:
        return set(delete_documents(Bank.open(bank_uri), [f"d{n}"]).deleted)

    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(delete, range(8)))
    assert all(f"d{n}" in deleted for n, deleted in enumerate(seen))
    newest = filled.bank.require_snapshot()
    assert set(newest.deleted) == {f"d{n}" for n in range(8)}
    assert newest.index["doc_id"].to_pylist() == ["d10", "d11", "d8", "d9"]


def test_a_run_that_is_overtaken_for_ever_gives_up(
    filled: Filled, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "MOST_ROUNDS", 2)
    monkeypatch.setattr(publish, "_claim", lambda *arguments: None)
    with pytest.raises(BankError, match="2 snapshots in a row were overtaken"):
        filled.bank.write_snapshot(world.wanted(filled.documents[:1]))


def test_a_deletion_reads_no_commits_and_writes_no_part(
    filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "read_committed", lambda *arguments: pytest.fail("commits were read"))
    before = filled.bank.require_snapshot()
    after = delete_documents(filled.bank, ["a"])
    assert after.number == 2 and after.parts == before.parts and after.objects == before.objects


def test_only_commits_that_are_new_are_read(
    filled: Filled, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prag_core.bank import commits

    new = world.documents(["e"])
    world.train(filled.bank, "shard2", new, world.augment(filled.bank, "shard2", new).objects)
    read: list[str] = []
    original = commits.decode_commit

    def decode(store: BankStore, data: bytes, path: str) -> Commit:
        read.append(path)
        return original(store, data, path)

    monkeypatch.setattr(commits, "decode_commit", decode)
    filled.bank.write_snapshot(world.wanted([*filled.documents, *new]))
    assert read == ["commits/augmentations/shard2.json", "commits/adapters/shard2.json"]


def test_what_the_catalog_has_taken_in_survives_the_loss_of_its_commit(filled: Filled, world: World) -> None:
    """A publish accounts for every document of its parent."""
    for stage in Stage:
        for name in list(filled.bank.fs.find(filled.bank.path(f"commits/{stage.value}"))):
            filled.bank.fs.rm_file(name)
    after = delete_documents(filled.bank, ["a"])
    assert after.counts == {"adapter": 2, "text_only": 0, "failed": 1, "deleted": 1}
    assert filled.bank.write_snapshot(world.wanted(filled.documents)).counts == after.counts


def test_a_run_that_publishes_less_keeps_the_rest_for_the_next(filled: Filled, world: World) -> None:
    smaller = filled.bank.write_snapshot(world.wanted(filled.documents[:1]))
    assert smaller.index["doc_id"].to_pylist() == ["a"]
    rows = smaller.rows_of(["a", "b"]).to_pylist()
    assert [(row["doc_id"], row["current"], row["left"]) for row in rows] == [
        ("a", True, None),
        ("b", False, 2),
    ]
    whole = filled.bank.write_snapshot(world.wanted(filled.documents))
    assert whole.counts["adapter"] == 3 and not whole.rows_of(["b"])["left"].is_valid().to_pylist()[0]


def test_parts_that_gc_has_condemned_are_not_published(
    filled: Filled, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    condemned: list[str] = []
    original = new_attempt

    def attempt() -> str:
        name = original()
        if not condemned:
            condemned.append(name)
            condemn(filled.bank, [f"catalog/{name}-0.parquet"])
        return name

    monkeypatch.setattr(publish, "new_attempt", attempt)
    snapshot = filled.bank.write_snapshot(world.wanted(filled.documents[:2]))
    assert snapshot.number == 2 and condemned[0] not in str(snapshot.manifest)


def test_publishing_nothing_new_writes_nothing(filled: Filled) -> None:
    before = filled.bank.require_snapshot()
    for request in (Request(), Request(absorb=False), Request(erased=tables.WANTED.empty_table())):
        assert publish.publish(filled.bank, request).name == before.name


def test_the_corpus_is_taken_in_whatever_the_type_of_its_columns(filled: Filled, world: World) -> None:
    wanted = world.wanted(filled.documents)
    wide = wanted.cast(
        pa.schema([("doc_id", pa.large_string()), ("chunk", pa.int64()), ("content_hash", pa.large_string())])
    )
    assert filled.bank.write_snapshot(wide).number == 1
