"""The benchmarks of reading and writing run on a folder (on S3 servers the tests of the bank run the same code)."""

from __future__ import annotations

from benchmarks import reads, write
from benchmarks.stores import SHAPES, layout
from prag_core.bank import encoded_size


def test_adapters_are_of_the_sizes_that_are_named() -> None:
    sizes = {name: encoded_size(layout(name), "fp32") for name in SHAPES}
    assert 290_000 < sizes["300 KB"] < 310_000
    assert sizes["4 MB"] == 4 * 983_040  # Llama-3.2-1B at rank 2


def test_reads_measure_floor_and_ours_for_one_and_three() -> None:
    rows = reads.main(["--stores", "local", "--sizes", "300 KB", "--adapters", "4", "--rounds", "3"])["rows"]
    assert [row["adapters"] for row in rows] == [1, 3]
    assert all(row["ours_p50_ms"] > 0 and row["floor_p50_ms"] > 0 for row in rows)


def test_writes_measure_every_tier_and_number_of_writers() -> None:
    rows = write.main(
        ["--stores", "local", "--tiers", "fp32", "int8", "--writers", "1", "2", "--adapters", "2"]
    )["rows"]
    assert [(row["tier"], row["writers"]) for row in rows] == [
        ("fp32", 1),
        ("fp32", 2),
        ("int8", 1),
        ("int8", 2),
    ]
    assert all(row["megabytes_per_second"] > 0 for row in rows)
