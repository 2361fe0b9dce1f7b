"""A valid Parquet file of another kind, rightly sealed, in the place of any table of a bank: whatever reads it names it."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from prag_core.bank import Bank, tables, verify
from prag_core.bank.columns import conform
from prag_core.bank.layout import ObjectInfo
from prag_core.bank.reader import read_adapter_rows
from prag_core.bank.repair import whole_rows
from prag_core.bank.store import BankStore
from prag_core.errors import CorruptBankError
from tests.prag_core.bank.test_hostile_fields import attempt, works_on
from tests.prag_core.bank.world import Filled, World

TABLES = ("documents/", "augmentations/", "rows/", "failures/", "-0.parquet", "-objects.parquet", "-commits")
MADE_OTHERWISE = {
    "other columns": lambda table: pa.table({"number": [1, 2]}),
    "another type": lambda table: table.set_column(
        0, table.column_names[0], pa.array([1] * len(table), pa.int64())
    ),
    "a column twice": lambda table: table.append_column(table.field(0), table.column(0)),
}


@pytest.mark.parametrize("how", MADE_OTHERWISE)
@pytest.mark.parametrize("place", TABLES)
def test_whatever_reads_a_table_of_another_kind_names_a_file_and_verify_names_the_table(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch, place: str, how: str
) -> None:
    bank = world.bank(str(tmp_path / "bank"))
    original, others = BankStore.write_table, list[str]()

    def write_otherwise(store: BankStore, path: str, table: pa.Table) -> ObjectInfo:
        if place not in path:
            return original(store, path, table)
        others.append(path)
        return original(store, path, MADE_OTHERWISE[how](table))

    with monkeypatch.context() as patch:
        patch.setattr(BankStore, "write_table", write_otherwise)
        world.fill(bank, failed=["d"])
    assert others
    named = {problem.path for problem in verify(bank) if "is of another kind" in problem.message}
    assert named == set(others)
    for work in works_on(bank):
        attempt(bank, work)


def test_a_file_of_another_kind_holds_no_adapters(filled: Filled) -> None:
    bank: Bank = filled.bank
    for info in bank.require_snapshot().objects.values():
        if info.kind == "adapters":
            Path(bank.path(info.path)).write_bytes(tables.to_parquet(pa.table({"value": [1]})))
            with pytest.raises(CorruptBankError, match=f"{info.path} is of another kind: it has no doc_id"):
                list(read_adapter_rows(bank, info.path))
            assert list(whole_rows(bank, info.path)) == []


def test_what_older_tables_lack_is_added_and_what_newer_ones_add_is_left_out() -> None:
    table = pa.table({"more": [0], "left": pa.array([None], pa.int64()), "doc_id": ["a"]})
    expected = pa.schema([("doc_id", tables.NAME), ("current", pa.bool_()), ("score", pa.float64())])
    after = conform(table, expected, "file")
    assert after.schema == expected and after.to_pylist() == [{"doc_id": "a", "current": True, "score": None}]
