"""Soak test of the endpoint: memory and files must not grow in ten minutes of merges that were never made before.

    python -m benchmarks.soak
    python -m benchmarks.soak --minutes 60 --at-once 16

Memory is that of all processes of the server, shared pages counted once; files are those of installed adapters in RAM, and all
files that these processes have open. The last minute's median may be 5 % above that of minute 2, when caches and pools have
filled. The exit code is 1 if it is higher, or if a request failed.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks import machine
from benchmarks.endless import Corpus, make_bank, make_model
from benchmarks.load import run_load
from benchmarks.serve import TOP_K, free_port, serving
from cluster.replica.installer import PREFIX
from prag_core.config.load import load_config
from prag_core.engines.adapter_files import ram_folder

MOST_GROWTH = 0.05
SETTLED = 2  # the minute that later ones are compared with
BATCH = 100  # questions between two measurements
MEASURES = ("memory_mib", "adapter_files", "open_files")


@dataclass(frozen=True)
class Measurement:
    """One measurement of the server; `minute` counts from 1."""

    minute: int
    requests: int
    memory_mib: float
    adapter_files: int
    open_files: int


def measure(minute: int, requests: int) -> Measurement:
    """Measure all processes below this one."""
    pss, handles = 0, 0
    for process in psutil.Process().children(recursive=True):
        try:
            pss += process.memory_full_info().pss
            handles += process.num_fds()
        except psutil.NoSuchProcess:
            continue
    folders = Path(ram_folder() or tempfile.gettempdir()).glob(f"{PREFIX}*")
    return Measurement(
        minute, requests, pss / 2**20, sum(1 for folder in folders for _ in folder.rglob("*")), handles
    )


def never_together(corpus: Corpus, seed: int = 0) -> Iterator[str]:
    """Yield questions over three documents each, no three of them twice."""
    rng, seen = random.Random(seed), set[tuple[int, ...]]()
    while True:
        numbers = tuple(sorted(rng.sample(range(corpus.num_documents), TOP_K)))
        if numbers not in seen:
            seen.add(numbers)
            yield corpus.question(numbers)


def soak(url: str, corpus: Corpus, options: argparse.Namespace) -> list[Measurement]:
    """Load the server without a pause, and measure it after each batch."""
    questions, measurements, requests = never_together(corpus), list[Measurement](), 0
    start = time.monotonic()
    while (minute := 1 + int((time.monotonic() - start) / 60)) <= options.minutes:
        run_load(url, "prag", [next(questions) for _ in range(BATCH)], options.at_once, options.max_tokens)
        requests += BATCH
        measurements.append(measure(minute, requests))
        if len(measurements) == 1 or minute > measurements[-2].minute:
            print(f"minute {minute}: {requests} requests, {measurements[-1].memory_mib:.0f} MiB", flush=True)
    return measurements


def by_minute(measurements: Sequence[Measurement]) -> list[dict[str, float]]:
    """Compute the median of each measure in each minute."""
    minutes = sorted({one.minute for one in measurements})
    grouped = {minute: [one for one in measurements if one.minute == minute] for minute in minutes}
    return [
        {"minute": minute, "requests": group[-1].requests}
        | {name: statistics.median(getattr(one, name) for one in group) for name in MEASURES}
        for minute, group in grouped.items()
    ]


def growth(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Compute the growth of each measure from the settled minute to the last, as a share."""
    settled = next((row for row in rows if row["minute"] >= SETTLED), rows[-1])
    return {name: rows[-1][name] / settled[name] - 1 if settled[name] else 0.0 for name in MEASURES}


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak", description=str(__doc__).split("\n\n")[0]
    )
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument(
        "--documents", type=int, default=300, help="documents of the bank; three of them make a merge"
    )
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--max-tokens", type=int, default=8, help="tokens of every answer")
    parser.add_argument("--passage-tokens", type=int, default=140)
    options = parser.parse_args(argv)
    corpus = Corpus(options.documents, options.passage_tokens)
    with tempfile.TemporaryDirectory(prefix="prag-benchmark-") as temporary:
        model = make_model("mini", Path(temporary) / "model")
        settings = [
            f"model.path={model}",
            f"bank.uri={temporary}/bank",
            f"retrieval.top_k={TOP_K}",
            f"serve.port={free_port()}",
        ]
        config = load_config([*settings, f"engine.max_sequences={options.at_once}"])
        make_bank(config, corpus)
        with serving(config) as url:
            rows = by_minute(soak(url, corpus, options))
    grown = growth(rows)
    title = f"{rows[-1]['requests']} requests, {options.at_once} at once, each with a merge of its own"
    machine.show(title, list(rows[0]), [list(row.values()) for row in rows])
    print(
        "\nFrom minute 2 to the last: "
        + ", ".join(f"{name} {100 * share:+.1f} %" for name, share in grown.items())
    )
    return {"options": vars(options), "rows": rows, "growth": grown}


if __name__ == "__main__":
    measured = main()
    machine.save("soak", measured)
    sys.exit(max(measured["growth"].values()) > MOST_GROWTH)
