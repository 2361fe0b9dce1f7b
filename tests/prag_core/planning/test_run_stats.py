"""What runs say of themselves: only those that ended do, and only of what they trained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prag_core.bank import Bank
from prag_core.bank.runs import SHARDS_FILE
from prag_core.config.load import load_config
from prag_core.errors import CorruptBankError
from prag_core.planning.recipe import prepare_recipe
from prag_core.planning.run_stats import read_run_stats, write_run_stats

Row = dict[str, object]


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    prepared = prepare_recipe(load_config())
    return Bank.create(str(tmp_path), prepared.recipe, prepared.layout, prepared.initial)


def row(seconds: float = 1.0, documents: int = 1, *, reused: bool = False, error: str = "") -> Row:
    figures = {"adapters_seconds": seconds, "adapters_num_documents": documents, "adapters_reused": reused}
    return {"shard_id": "s", "num_documents": documents, "error": error} | ({} if error else figures)


def test_a_bank_without_runs_has_no_figures(bank: Bank) -> None:
    figures = read_run_stats(bank)
    assert (figures.finished, figures.trained, figures.seconds_per_document) == (False, 0, None)


def test_seconds_are_of_what_was_trained_over_all_runs(bank: Bank) -> None:
    write_run_stats(bank, "20260101", [row(2.0, 4), row(9.9, 0, error="lost")])
    write_run_stats(bank, "20260102", [row(0.1, 4, reused=True), row(4.0, 2)])
    figures = read_run_stats(bank)
    assert figures.finished and figures.trained == 6
    assert figures.seconds_per_document == pytest.approx(1.0)


def test_what_augmentation_counted_is_added_up_over_all_runs_failed_shards_too(bank: Bank) -> None:
    write_run_stats(
        bank, "20260101", [row() | {"augmentations_tally": {"pairs": 3, "repeated": 1, "rewrites": 0}}]
    )
    lost = {"augmentations_tally": {"pairs": 2, "repeated": 0, "rewrites": 0}}
    write_run_stats(bank, "20260102", [row(error="lost") | lost, row()])
    assert read_run_stats(bank).tally == {"pairs": 5, "repeated": 1}


def test_counts_that_are_none_are_damage(bank: Bank) -> None:
    write_run_stats(bank, "20260101", [row() | {"augmentations_tally": {"pairs": "many"}}])
    with pytest.raises(CorruptBankError, match="damaged"):
        read_run_stats(bank)


@pytest.mark.parametrize(
    ("last", "finished"), [([], True), ([row()], True), ([row(), row(error="lost")], False), (None, False)]
)
def test_the_newest_run_decides_whether_the_bank_is_finished(
    bank: Bank, last: list[Row] | None, finished: bool
) -> None:
    write_run_stats(bank, "20260101", [row(2.0, 4)])
    bank.write_run("20260102", "config.yaml", b"settings")
    if last is not None:
        write_run_stats(bank, "20260102", last)
    assert read_run_stats(bank).finished is finished


def test_the_rows_are_kept_as_sealed_json(bank: Bank) -> None:
    write_run_stats(bank, "20260101", [row(2.0, 4)])
    assert json.loads(bank.read_run("20260101", SHARDS_FILE))["shards"] == [row(2.0, 4)]
    path = Path(bank.uri, "runs", "20260101", SHARDS_FILE)
    path.write_bytes(path.read_bytes().replace(b"2.0", b"3.0"))
    with pytest.raises(CorruptBankError, match=SHARDS_FILE):
        read_run_stats(bank)


def test_rows_of_before_they_were_sealed_are_read(bank: Bank) -> None:
    bank.write_run("20260101", SHARDS_FILE, json.dumps([row(2.0, 4)], indent=1).encode())
    assert read_run_stats(bank).trained == 4


@pytest.mark.parametrize("content", [b"", b"3", b"[3]", b'[{"error": ""}]', b"[" * 100_000, b'{"shards": 1}'])
def test_what_holds_no_rows_is_damage(bank: Bank, content: bytes) -> None:
    bank.write_run("20260101", SHARDS_FILE, content)
    with pytest.raises(CorruptBankError, match=SHARDS_FILE):
        read_run_stats(bank)
