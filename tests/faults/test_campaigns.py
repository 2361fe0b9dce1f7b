"""A short run of each campaign. `make faults` makes 50."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.campaign import run


def test_processes_that_are_killed_at_random_break_no_promise_of_the_bank(tmp_path: Path) -> None:
    result = run(0, str(tmp_path / "bank"), tmp_path, {}, network=False, seconds=2)
    assert not result.violation, "\n".join([*result.history, str(result.violation)])
    assert result.kills and result.calls > 20


@pytest.mark.parametrize("s3_uri", ["radosgw"], indirect=True)
def test_a_network_that_fails_breaks_no_promise_of_the_bank(
    radosgw: dict[str, str], s3_uri: str, tmp_path: Path
) -> None:
    result = run(4, s3_uri, tmp_path, radosgw, network=True, seconds=2)
    assert not result.violation, "\n".join([*result.history, str(result.violation)])
    assert result.faults.total()
