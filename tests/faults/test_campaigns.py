"""A short run of each campaign. `make faults` makes 50."""

from __future__ import annotations

from pathlib import Path

from tests.faults.campaign import run


def test_processes_that_are_killed_at_random_break_no_promise_of_the_bank(tmp_path: Path) -> None:
    result = run(0, str(tmp_path / "bank"), tmp_path, {}, network=False, seconds=2)
    assert not result.violation, "\n".join([*result.history, str(result.violation)])
    assert result.kills and result.calls > 20


def test_a_network_that_fails_breaks_no_promise_of_the_bank(
    swift: dict[str, str], swift_uri: str, tmp_path: Path
) -> None:
    result = run(3, swift_uri, tmp_path, swift, network=True, seconds=3)
    assert not result.violation, "\n".join([*result.history, str(result.violation)])
    assert result.faults.total()
