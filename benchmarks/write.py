"""Benchmark of writing adapters into a bank: bytes a second by store, tier and number of writers, against the rate of training.

    python -m benchmarks.write --stores local swift radosgw

Every writer fills shards of its own, as training actors do, here as threads of one process. How long a trainer waits for
its writer is in benchmarks/train.py (the column "wait").
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.stores import STORES, layout, random_factors, store
from prag_core.bank import Bank, Stage, encoded_size
from prag_core.config.schema import Tier
from prag_core.identity import Recipe
from prag_core.records import Adapter, AdapterFactors

SIZE = "4 MB"  # Llama-3.2-1B's adapter, in float32
CEILING = (
    167  # documents a second that one H200 could train at most: 4 · P FLOP a token, 975 tokens a document
)


def write_shard(bank: Bank, name: str, tier: Tier, factors: Sequence[AdapterFactors], count: int) -> None:
    with bank.begin(Stage.adapters, name, tier) as writer:
        for n in range(count):
            writer.add(
                Adapter(
                    f"{name}-{n}",
                    0,
                    "0" * 64,
                    factors[n % len(factors)],
                    steps=5,
                    tokens=700,
                    loss_first=2.0,
                    loss_last=1.0,
                )
            )
        writer.commit()


def measure(uri: str, tier: Tier, writers: int, count: int) -> dict[str, Any]:
    """Measure adapters and bytes a second over all writers, commits included."""
    shape = layout(SIZE)
    factors = [random_factors(shape, seed) for seed in range(2)]
    bank = Bank.create(f"{uri}/{tier.value}-{writers}", Recipe({"benchmark": "write"}), shape, factors[0])
    write_shard(bank, "warm", tier, factors, 1)
    start = time.perf_counter()
    with ThreadPoolExecutor(writers) as pool:
        for future in [
            pool.submit(write_shard, bank, f"shard{n}", tier, factors, count) for n in range(writers)
        ]:
            future.result()
    rate = writers * count / (time.perf_counter() - start)
    bytes_per_second = rate * encoded_size(shape, tier)
    return {
        "tier": tier.value,
        "writers": writers,
        "adapters_per_second": rate,
        "megabytes_per_second": bytes_per_second / 1e6,
        "of_ceiling": rate / CEILING,
    }


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.write", description=str(__doc__).split("\n\n")[0]
    )
    parser.add_argument("--stores", nargs="+", choices=STORES, default=list(STORES))
    parser.add_argument(
        "--tiers", nargs="+", choices=[tier.value for tier in Tier], default=["fp32", "bf16", "int8"]
    )
    parser.add_argument("--writers", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--adapters", type=int, default=64, help="adapters of each writer")
    options = parser.parse_args(argv)
    rows = []
    for name in options.stores:
        with tempfile.TemporaryDirectory() as folder, store(name, Path(folder)) as uri:
            for tier in map(Tier, options.tiers):
                rows += [
                    {"store": name, **measure(uri, tier, writers, options.adapters)}
                    for writers in options.writers
                ]
    machine.show(
        f"Writing adapters of Llama-3.2-1B, {machine.machine_name()}",
        ["store", "tier", "writers", "adapters/s", "MB/s", f"of {CEILING}/s"],
        [[*row.values()] for row in rows],
    )
    return {"rows": rows}


if __name__ == "__main__":
    machine.save("write", main())
