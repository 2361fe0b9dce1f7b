"""Benchmark of reading adapters at random, one or three at once, against raw ranged reads of the same bytes.

    python -m benchmarks.reads --stores local swift radosgw

The floor is botocore's get_object with a Range on S3 (three threads for three), open-seek-read on a folder. Ours adds
looking up the key in the snapshot, the SHA-256 of the bytes, and decoding to float32 factors; floor and ours take turns.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks import machine
from benchmarks.stores import SHAPES, STORES, layout, random_factors, s3_client, store
from prag_core.bank import AdapterReader, Bank, Entry, Stage
from prag_core.bank.store import BankStore
from prag_core.bank.tables import WANTED
from prag_core.identity import Recipe
from prag_core.records import Adapter, Key

CONTENT = "0" * 64


def fill(uri: str, size: str, count: int) -> AdapterReader:
    """Make a bank of `count` adapters of a size, in one object. Return its reader."""
    shape = layout(size)
    bank = Bank.create(
        f"{uri}/bank-{size.replace(' ', '')}", Recipe({"benchmark": "reads"}), shape, random_factors(shape, 0)
    )
    few = [random_factors(shape, seed) for seed in range(8)]
    keys = [f"document-{n:04d}" for n in range(count)]
    with bank.begin(Stage.adapters, "shard") as writer:
        for n, doc_id in enumerate(keys):
            writer.add(
                Adapter(
                    doc_id, 0, CONTENT, few[n % len(few)], steps=5, tokens=700, loss_first=2.0, loss_last=1.0
                )
            )
        writer.commit()
    wanted = pa.table({"doc_id": keys, "chunk": [0] * count, "content_hash": [CONTENT] * count}).cast(WANTED)
    return AdapterReader(bank, bank.write_snapshot(wanted))


def raw_read(bank: BankStore) -> Callable[[Entry], bytes]:
    """Make the function that reads an adapter's bytes by one ranged read, and nothing else."""
    if not bank.uri.startswith("s3://"):

        def from_file(entry: Entry) -> bytes:
            with open(bank.path(str(entry.adapter_object)), "rb") as file:
                file.seek(int(entry.start or 0))
                return file.read(int(entry.length or 0))

        return from_file
    client = s3_client()

    def from_s3(entry: Entry) -> bytes:
        bucket, key = bank.path(str(entry.adapter_object)).split("/", 1)
        span = f"bytes={entry.start}-{int(entry.start or 0) + int(entry.length or 0) - 1}"
        data: bytes = client.get_object(Bucket=bucket, Key=key, Range=span)["Body"].read()
        return data

    return from_s3


def measure(reader: AdapterReader, together: int, rounds: int) -> dict[str, float]:
    """Measure the 50th and 99th percentiles of floor and ours, in milliseconds."""
    raw, rng = raw_read(reader.store), random.Random(together)
    index = reader.snapshot.index["doc_id"].to_pylist()
    floor, ours = [], []
    with ThreadPoolExecutor(together) as pool:
        for n in range(rounds + 5):
            keys: list[Key] = [(doc_id, 0) for doc_id in rng.sample(index, together)]
            entries = reader.entries(keys)
            start = time.perf_counter()
            data = list(pool.map(raw, entries)) if together > 1 else [raw(entries[0])]
            middle = time.perf_counter()
            adapters = reader.fetch(keys)
            end = time.perf_counter()
            assert [len(part) for part in data] == [entry.length for entry in entries] and list(
                adapters
            ) == keys
            if n >= 5:
                floor.append(1e3 * (middle - start))
                ours.append(1e3 * (end - middle))
    points = {
        f"{name}_p{q}_ms": float(np.percentile(v, q))
        for name, v in (("floor", floor), ("ours", ours))
        for q in (50, 99)
    }
    return points | {"ratio": points["ours_p50_ms"] / points["floor_p50_ms"]}


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.reads", description=str(__doc__).split("\n\n")[0]
    )
    parser.add_argument("--stores", nargs="+", choices=STORES, default=list(STORES))
    parser.add_argument("--sizes", nargs="+", choices=list(SHAPES), default=list(SHAPES))
    parser.add_argument("--adapters", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args(argv)
    rows = []
    for name in options.stores:
        with tempfile.TemporaryDirectory() as folder, store(name, Path(folder)) as uri:
            for size in options.sizes:
                reader = fill(uri, size, options.adapters)
                for together in (1, 3):
                    points = measure(reader, together, options.rounds)
                    rows.append({"store": name, "size": size, "adapters": together, **points})
    machine.show(
        f"Reading adapters, {machine.machine_name()}, milliseconds",
        ["store", "size", "at once", "floor p50", "floor p99", "ours p50", "ours p99", "ours / floor"],
        [[*row.values()] for row in rows],
    )
    return {"rows": rows}


if __name__ == "__main__":
    machine.save("reads", main())
