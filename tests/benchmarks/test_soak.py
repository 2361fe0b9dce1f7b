"""The questions of the soak test and its verdict on invented measurements; benchmarks/README.md has a run in full."""

from __future__ import annotations

import subprocess
import sys
from itertools import islice

import pytest

from benchmarks.endless import Corpus
from benchmarks.soak import Measurement, by_minute, growth, measure, never_together


def test_no_merge_is_asked_for_twice() -> None:
    asked = list(islice(never_together(Corpus(8, 10)), 56))  # all that there are
    assert len(set(asked)) == 56


def test_growth_is_counted_from_the_second_minute_on_and_by_medians() -> None:
    measurements = [
        Measurement(1, 100, 50.0, 9, 70),
        Measurement(2, 200, 100.0, 10, 80),
        Measurement(2, 300, 102.0, 10, 80),
        Measurement(2, 400, 900.0, 10, 80),
    ]
    measurements += [Measurement(3, 500, 107.1, 10, 76)]
    rows = by_minute(measurements)
    assert [row["memory_mib"] for row in rows] == [50.0, 102.0, 107.1] and rows[1]["requests"] == 400
    assert growth(rows) == pytest.approx({"memory_mib": 0.05, "adapter_files": 0.0, "open_files": -0.05})


def test_a_measurement_counts_the_processes_below_this_one() -> None:
    before = measure(1, 0)
    child = subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None and child.stdout.readline()
    during = measure(1, 0)
    child.communicate(b"\n")
    assert during.memory_mib > before.memory_mib + 1 and during.open_files >= before.open_files + 3
