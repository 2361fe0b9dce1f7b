"""Files of a run are written once and listed in the order of their runs."""

from __future__ import annotations

import pytest

from prag_core.bank.runs import list_runs, read_run, write_run
from prag_core.bank.store import BankStore
from prag_core.errors import BankError
from tests.prag_core.bank.world import World


@pytest.fixture
def store(bank_uri: str, world: World) -> BankStore:
    bank = world.bank(bank_uri)
    return BankStore(bank.uri, bank.fields)


def test_files_of_a_run_are_written_once(store: BankStore) -> None:
    write_run(store, "run1", "plan.json", b"{}")
    write_run(store, "run1", "plan.json", b"{}")
    with pytest.raises(BankError, match=r"runs/run1/plan\.json exists with other content"):
        write_run(store, "run1", "plan.json", b"other")
    assert read_run(store, "run1", "plan.json") == b"{}"


def test_a_file_that_a_run_does_not_have_is_named(store: BankStore) -> None:
    with pytest.raises(BankError, match="has no runs/run1/other"):
        read_run(store, "run1", "other")


def test_runs_are_listed_oldest_first_each_once(store: BankStore) -> None:
    assert list_runs(store) == []
    for run, name in (("2024b", "plan.json"), ("2024a", "plan.json"), ("2024b", "config.yaml")):
        write_run(store, run, name, b"{}")
    assert list_runs(store) == ["2024a", "2024b"]
