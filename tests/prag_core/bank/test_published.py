from __future__ import annotations

from pathlib import Path

import pytest

from prag_core.bank import delete_documents
from prag_core.bank.published import list_names, list_published, newest_name, on_newest
from prag_core.errors import CorruptBankError
from tests.prag_core.bank.world import Filled, World


def test_a_damaged_claim_is_read_from_its_copy(filled: Filled) -> None:
    name = filled.bank.require_snapshot().name
    Path(filled.bank.path("published/00000001.json")).write_bytes(b"damaged")
    assert filled.bank.require_snapshot().name == name


def test_a_snapshot_that_was_written_and_not_claimed_does_not_count(filled: Filled, world: World) -> None:
    """Its publisher was killed in between; the next one takes the number."""
    newest = delete_documents(filled.bank, ["a"])
    Path(filled.bank.path("published/00000002.json")).unlink()
    Path(filled.bank.path(f"snapshots/{newest.name}/published.json")).unlink()
    assert filled.bank.require_snapshot().number == 1
    assert filled.bank.write_snapshot(world.wanted(filled.documents[:2])).number == 2


def test_snapshots_are_listed_newest_first_and_one_that_lost_claim_and_copy_is_not(filled: Filled) -> None:
    bank = filled.bank
    first = bank.require_snapshot().name
    second, third = (delete_documents(bank, [doc_id]).name for doc_id in "ab")
    assert list_names(bank) == [third, second, first] and list_published(bank).newest == 3
    Path(bank.path(f"snapshots/{second}/published.json")).unlink()
    assert list_names(bank) == [third, first]


def test_what_fails_on_a_snapshot_that_was_superseded_is_done_again_and_else_raised(filled: Filled) -> None:
    bank, tried = filled.bank, list[str | None]()

    def fail_once(name: str | None) -> str | None:
        tried.append(name)
        if len(tried) == 1:
            delete_documents(bank, ["a"])
            raise CorruptBankError("cleared away")
        return name

    first = newest_name(bank)
    assert on_newest(bank, fail_once) == newest_name(bank) and tried == [first, newest_name(bank)]
    tried.clear()

    def fail(name: str | None) -> None:
        tried.append(name)
        raise CorruptBankError("damaged")

    with pytest.raises(CorruptBankError, match="damaged"):
        on_newest(bank, fail)
    assert len(tried) == 1
