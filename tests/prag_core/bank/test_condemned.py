from __future__ import annotations

from pathlib import Path

import pytest

from prag_core.bank.condemned import check_safe, condemn, drop_records, read_condemned
from prag_core.errors import BankError, CorruptBankError
from tests.prag_core.bank.world import Filled


def test_records_are_read_together_until_they_are_dropped(filled: Filled) -> None:
    assert not read_condemned(filled.bank).files
    first, second = condemn(filled.bank, ["a", "b"]), condemn(filled.bank, ["b", "c"])
    assert read_condemned(filled.bank).files == {"a", "b", "c"}
    drop_records(filled.bank, [first])
    assert read_condemned(filled.bank).records == {second: frozenset("bc")}


def test_what_is_condemned_or_gone_is_not_safe_and_is_named(filled: Filled) -> None:
    one, two = (f"documents/{path.name}" for path in Path(filled.bank.path("documents")).iterdir())
    check_safe(filled.bank, [one, two], "it")
    record = condemn(filled.bank, [one])
    with pytest.raises(BankError, match=one):
        check_safe(filled.bank, [one, two], "it")
    drop_records(filled.bank, [record])
    Path(filled.bank.path(two)).unlink()
    with pytest.raises(BankError, match=two):
        check_safe(filled.bank, [one, two], "it")


def test_a_damaged_record_is_named(filled: Filled) -> None:
    path = Path(filled.bank.path(f"condemned/{condemn(filled.bank, ['a'])}.json"))
    path.write_bytes(b"[]")
    with pytest.raises(CorruptBankError, match=path.name):
        read_condemned(filled.bank)
