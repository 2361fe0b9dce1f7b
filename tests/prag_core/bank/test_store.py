"""Objects are read with their digests checked; what is missing or damaged is named."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from prag_core.bank import ObjectInfo
from prag_core.bank.store import BankStore
from prag_core.errors import BankError, CorruptBankError
from tests.prag_core.bank.world import World

TABLE = pa.table({"number": [1, 2, 3]})


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
