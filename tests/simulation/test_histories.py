"""A smoke of the simulation: 500 histories. `make simulate` runs 20,000."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def simulate(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation", *options],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_500_histories_of_several_actors_break_no_promise_of_the_bank() -> None:
    result = simulate("--histories", "500")
    assert result.returncode == 0, result.stdout[-20_000:] + result.stderr[-5_000:]


def test_a_seed_tells_the_same_history_again() -> None:
    first, again = (simulate("--seed", "7", "--trace").stdout for _ in range(2))
    assert first == again and len(first.splitlines()) > 100
