"""Objects are read with their digests checked; what is missing or damaged is named."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prag_core.bank import Bank, ObjectInfo, Stage
from prag_core.bank.sealed import seal
from prag_core.bank.store import BankStore
from prag_core.bank.tables import documents_table
from prag_core.errors import BankError, CorruptBankError
from prag_core.storage import put_whole, read
from tests.prag_core.bank.world import World, committed, object_of

TABLE = documents_table(World().documents("abc"))


@pytest.fixture
def store(bank_uri: str, world: World) -> BankStore:
    bank = world.bank(bank_uri)
    return BankStore(bank.uri, bank.fields)


def test_a_table_comes_back_by_its_path_and_by_its_digest(store: BankStore) -> None:
    info = store.write_table("documents/some-1.parquet", TABLE)
    assert (info.rows, info.kind) == (3, "documents")
    assert store.read_table(info.path) == store.read_table(info) == TABLE
    assert store.read_objects([info, info])[1] == store.fs.cat_file(store.path(info.path))


def test_a_table_that_is_not_there_is_named(store: BankStore) -> None:
    absent = ObjectInfo("documents/none-1.parquet", 1, 1, "0" * 64)
    with pytest.raises(BankError, match=r"documents/none-1\.parquet does not exist; prag bank verify"):
        store.read_table(absent.path)
    with pytest.raises(CorruptBankError, match=r"documents/none-1\.parquet is missing"):
        store.read_objects([store.write_table("documents/some-1.parquet", TABLE), absent])


def test_an_object_of_another_digest_is_damaged_however_well_it_reads(store: BankStore) -> None:
    info = store.write_table("documents/some-1.parquet", TABLE)
    with pytest.raises(
        CorruptBankError, match=r"documents/some-1\.parquet is damaged.*recorded 000000000000…"
    ):
        store.read_tables([replace(info, sha256="0" * 64)])


def test_it_is_pickled_without_its_connection_and_opens_one_of_its_own(tmp_path: Path, world: World) -> None:
    bank = world.bank(str(tmp_path / "bank"))
    store = BankStore(bank.uri, bank.fields)
    info = store.write_table("documents/some-1.parquet", TABLE)
    (tmp_path / "bank/bank.json").unlink()  # nobody need read it again
    copy = pickle.loads(pickle.dumps(store))
    assert copy._opened is None and copy.read_table(info) == TABLE
    assert (copy.recipe, copy.layout, copy.root) == (store.recipe, store.layout, store.root)


def test_a_short_or_changed_object_is_named(bank_uri: str, world: World) -> None:
    bank = world.fill(world.bank(bank_uri)).bank
    info = object_of(committed(bank, Stage.adapters, "shard0"), "documents")
    data = read(bank.fs, bank.path(info.path))
    for other, reason in (
        (b"", "ends after 0 of"),
        (data[:40], "ends after 40 of"),
        (data + b"x", "SHA-256"),
        (data[:-1] + b"x", "SHA-256"),
    ):
        put_whole(bank.fs, bank.path(info.path), other)
        with pytest.raises(CorruptBankError, match=rf"{info.path} is damaged.*{reason}"):
            bank.read_documents(info)


def test_an_empty_sealed_file_is_named(bank_uri: str, world: World) -> None:
    bank = world.fill(world.bank(bank_uri)).bank
    put_whole(bank.fs, bank.path("bank.json"), b"")
    with pytest.raises(CorruptBankError, match=r"bank\.json is damaged"):
        Bank.open(bank_uri)


def test_what_a_network_garbles_once_is_read_again(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = world.bank(str(tmp_path / "bank"))
    infos = [bank.write_documents(shard, world.documents(shard)) for shard in ("ab", "cd")]
    original, calls = type(bank.fs).cat_file, 0

    def garble(fs: Any, path: str, **kwargs: Any) -> bytes:
        nonlocal calls
        calls += 1
        data = bytes(original(fs, path, **kwargs))
        return data[:-1] if calls == 2 else data

    monkeypatch.setattr(type(bank.fs), "cat_file", garble)
    assert [table.num_rows for table in bank.read_tables(infos)] == [2, 2] and calls == 3


def test_links_within_a_bank_are_not_followed_out_of_it(tmp_path: Path, world: World) -> None:
    bank = world.fill(world.bank(str(tmp_path / "bank"))).bank
    folder, outside = tmp_path / "bank" / "documents", tmp_path / "outside"
    folder.rename(outside)
    folder.symlink_to(outside)
    with pytest.raises(CorruptBankError, match="leads out of it"):
        bank.write_documents("shard9", world.documents("x"))
    with pytest.raises(CorruptBankError, match="leads out of it"):
        list(bank.require_snapshot().documents())
    assert all(path.name.startswith("shard") for path in outside.iterdir())


@pytest.mark.parametrize(
    "change",
    [
        {"layout": {"rank": 0, "alpha": 1, "modules": []}},
        {"layout": {"rank": 2, "alpha": "much", "modules": []}},
        {"layout": {"rank": 2, "alpha": 1, "modules": [{"name": "m", "in_features": -1, "out_features": 2}]}},
        {"layout": None},
        {"recipe": 3},
        {"initial": "init/x"},
        {"initial": {"path": "/etc/passwd", "bytes": 3, "sha256": "0" * 64}},
        {"initial": {"path": "init/0123456789abcdef.safetensors", "bytes": 1 << 41, "sha256": "0" * 64}},
    ],
    ids=str,
)
def test_a_bank_json_that_describes_no_bank_is_damage(
    tmp_path: Path, world: World, change: dict[str, Any]
) -> None:
    bank = world.bank(str(tmp_path / "bank"))
    (tmp_path / "bank" / "bank.json").write_bytes(seal({**bank.fields, **change}))
    with pytest.raises(CorruptBankError, match=r"bank\.json"):
        Bank.open(bank.uri).initial_factors()
