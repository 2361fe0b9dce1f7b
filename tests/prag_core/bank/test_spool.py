from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest

from prag_core.bank import spool
from prag_core.bank.spool import Spool


def rows(keys: list[str], start: int = 0) -> pa.Table:
    shard = pa.array([f"s{start}"] * len(keys), pa.string()).dictionary_encode()
    return pa.table({"key": keys, "n": range(start, start + len(keys)), "shard": shard})


@pytest.mark.parametrize("run_bytes", [1, 300, 1 << 27])
def test_rows_come_back_by_ranges_in_order_and_each_once(
    run_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether every table, some, or none go to the disk. Rows of one key keep the order in which they came."""
    monkeypatch.setattr(spool, "RUN_BYTES", run_bytes)
    draw = np.random.default_rng(0)
    keys = [f"{draw.integers(90):02d}" for _ in range(500)]
    sorted_rows = Spool("key", piece_rows=3)
    for start in range(0, 500, 50):
        sorted_rows.add(rows(keys[start : start + 50], start))
    ends = ["", "07", "07", "31", "44x", None, None]
    taken = [
        [pair for t in sorted_rows.take_until(e) for pair in zip(*t.to_pydict().values(), strict=True)]
        for e in ends
    ]
    everything = sorted((key, n, f"s{n // 50 * 50}") for n, key in enumerate(keys))
    bounds = ["", "07", "07", "31", "44x", "zz"]
    expected: list[list[tuple[str, int, str]]] = [[]] + [
        [r for r in everything if low <= r[0] < high] for low, high in pairwise(bounds)
    ]
    assert [sorted(part, key=lambda row: row[0]) for part in taken] == [*expected, []]
    assert sorted_rows.num_rows == 500


def test_beyond_a_run_rows_wait_on_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrow holds a run and a piece of each, not what was added."""
    monkeypatch.setattr(spool, "RUN_BYTES", 1 << 20)
    before, sorted_rows = pa.total_allocated_bytes(), Spool("key", piece_rows=256)
    for start in range(0, 64):
        sorted_rows.add(rows([f"{start:02d}-{n:04d}{'x' * 100}" for n in range(4096)]))
    assert pa.total_allocated_bytes() - before < 4 << 20  # of 32 MB
    assert sum(table.num_rows for table in sorted_rows.take_until(None)) == 64 * 4096


def test_the_sample_is_regular_on_disk_and_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{n:04d}" for n in range(1000)]
    for run_bytes in (1 << 27, 4000):
        monkeypatch.setattr(spool, "RUN_BYTES", run_bytes)
        sorted_rows = Spool("key", piece_rows=10)
        for start in range(0, 1000, 100):
            sorted_rows.add(rows(names[start : start + 100]))
        sample = sorted_rows.sample()
        assert sample == sorted(sample) and set(names[::100]) <= set(sample) and 100 <= len(sample) <= 110
