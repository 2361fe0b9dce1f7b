"""What operations ask of an object store follows the change and the parts of the catalog, not the shards of the bank."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.requests import PART_SHARDS, measure

FEW, MANY = 2 * PART_SHARDS, 4 * PART_SHARDS  # shards
MORE_PARTS = (MANY - FEW) // PART_SHARDS


@pytest.fixture(scope="module")
def requests(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, int]]]:
    folders: list[Path] = [tmp_path_factory.mktemp("requests") for _ in (FEW, MANY)]
    return [measure(folder, shards) for folder, shards in zip(folders, (FEW, MANY), strict=True)]


@pytest.mark.parametrize("operation", ["look-up", "deletion"])
def test_as_many_requests_in_a_bank_of_any_size(
    operation: str, requests: list[dict[str, dict[str, int]]]
) -> None:
    few, many = (counts[operation] for counts in requests)
    assert few == many and few["HEAD"] == few["DELETE"] == 0


def test_a_deletion_writes_an_event_a_manifest_a_claim_and_its_copy(
    requests: list[dict[str, dict[str, int]]],
) -> None:
    assert requests[0]["deletion"]["PUT"] == 4


@pytest.mark.parametrize("operation", ["resume: plan", "resume: publish"])
def test_a_resume_that_finds_nothing_reads_each_part_once_and_no_commit(
    operation: str, requests: list[dict[str, dict[str, int]]]
) -> None:
    few, many = (counts[operation] for counts in requests)
    assert many.pop("GET") - few.pop("GET") == MORE_PARTS
    assert few == many
    assert operation == "resume: plan" or many["PUT"] == 0


def test_a_publish_lists_snapshots_and_claims_twice(requests: list[dict[str, dict[str, int]]]) -> None:
    """And deletions and the commits of both stages once: to see what is newest, and afterwards that it is alone."""
    assert requests[0]["resume: publish"]["LIST"] <= 6
