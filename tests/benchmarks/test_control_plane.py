"""The control-plane benchmark measures every phase over a complete bank, and resumes a run that was stopped."""

from __future__ import annotations

from pathlib import Path

from benchmarks.control_plane import PHASES, main


def test_a_run_that_was_stopped_is_resumed(tmp_path: Path) -> None:
    command = ["--documents", "1100", "--folder", str(tmp_path)]
    assert main([*command, "--seconds", "0"])["sizes"] == []
    (size,) = main(command)["sizes"]
    assert all(size["phases"][phase]["done"] and size["phases"][phase]["seconds"] > 0 for phase in PHASES)
    assert size["phases"]["lookup"]["ms_each"] > 0
    assert {"adapters", "rows", "commits", "snapshots", "runs"} <= size["bytes"].keys()
    (again,) = main(command)["sizes"]
    assert again == size
