from __future__ import annotations

import multiprocessing
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from prag_core.bank import Bank, Stage
from prag_core.errors import BankError, CorruptBankError, StorageError
from prag_core.identity import Recipe
from tests.prag_core.bank.world import Filled, World, committed, object_of


def test_the_initial_adapter_comes_back(bank_uri: str, world: World) -> None:
    world.bank(bank_uri)
    found, expected = Bank.open(bank_uri).initial_factors(), world.factors(999)
    for name in expected:
        np.testing.assert_array_equal(found[name].a, expected[name].a)
        np.testing.assert_array_equal(found[name].b, expected[name].b)


def test_creating_again_with_the_same_recipe_opens_it(bank_uri: str, world: World) -> None:
    first = world.bank(bank_uri)
    world.augment(first, "shard", world.documents(["a"]))
    assert world.bank(bank_uri).committed_shards(Stage.augmentations) == {"shard"}


def test_another_recipe_is_refused_and_the_settings_that_differ_are_named(
    filled: Filled, world: World
) -> None:
    other = Recipe({"model": "tiny", "training": {"epochs": 2, "learning_rate": 3e-4}})
    with pytest.raises(
        BankError, match=r"(?s)another recipe is another bank.*training\.epochs: 1 there, 2 here"
    ) as caught:
        Bank.create(filled.bank.uri, other, world.layout, world.factors(0))
    assert "learning_rate" not in str(caught.value)


def test_where_there_is_no_bank_it_says_so(bank_uri: str) -> None:
    with pytest.raises(BankError, match="no bank here"):
        Bank.open(bank_uri)


def test_a_damaged_bank_json_and_an_unknown_format_are_refused(filled: Filled) -> None:
    path = Path(filled.bank.root, "bank.json")
    good = path.read_bytes()
    path.write_bytes(good.replace(b'"epochs": 1', b'"epochs": 7'))
    with pytest.raises(CorruptBankError, match=r"bank\.json"):
        Bank.open(filled.bank.uri)
    from prag_core.bank.sealed import seal

    path.write_bytes(seal({**filled.bank.fields, "format": 99}))
    with pytest.raises(BankError, match="format 99"):
        Bank.open(filled.bank.uri)


def test_an_unwritable_place_is_refused_before_any_work(tmp_path: Path, world: World) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageError, match="file"):
        world.bank(str(tmp_path / "file" / "bank"))


def test_a_damaged_initial_adapter_is_named(filled: Filled) -> None:
    (path,) = Path(filled.bank.root, "init").iterdir()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptBankError, match="init/"):
        filled.bank.initial_factors()


def test_documents_come_back_with_their_metadata(filled: Filled) -> None:
    info = object_of(committed(filled.bank, Stage.adapters, "shard0"), "documents")
    assert filled.bank.read_documents(info.path) == filled.bank.read_documents(info) == filled.documents[:2]


def _shards(bank: Bank) -> set[str]:
    return bank.committed_shards(Stage.adapters)


def test_a_bank_works_in_a_spawned_worker_and_after_a_fork(swift_uri: str, world: World) -> None:
    filled = world.fill(world.bank(swift_uri))
    assert _shards(pickle.loads(pickle.dumps(filled.bank))) == {"shard0", "shard1"}
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, ",".join(sorted(_shards(filled.bank))).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 100) == b"shard0,shard1"
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(Bank.open, (swift_uri,)).recipe == world.recipe
