"""The endpoint for ten minutes, every question over three documents that were never merged together before: do memory and
files stay flat?

    python -m benchmarks.soak
    python -m benchmarks.soak --minutes 60 --at-once 16

Memory is what all of the server's processes hold, shared pages counted once; files are those of installed adapters in RAM
and all that these processes have open. Judged from minute 2 on, when caches and pools have filled: the last minute's median
may lie 5 % above minute 2's. Exit code 1 if it is more, or if a request failed.
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
from prag_core.engines.vllm import ram_folder

MOST_GROWTH = 0.05
SETTLED = 2  # the minute that later ones are held against
BATCH = 100  # questions between two looks
MEASURES = ("memory_mib", "adapter_files", "open_files")


@dataclass(frozen=True)
class Look:
    """At the server, `minute` counted from 1."""

    minute: int
    requests: int
    memory_mib: float
    adapter_files: int
    open_files: int


def look(minute: int, requests: int) -> Look:
    """At all processes below this one."""
    pss, handles = 0, 0
    for process in psutil.Process().children(recursive=True):
        try:
            pss += process.memory_full_info().pss
            handles += process.num_fds()
        except psutil.NoSuchProcess:
            continue
    folders = Path(ram_folder() or tempfile.gettempdir()).glob(f"{PREFIX}*")
    return Look(
        minute, requests, pss / 2**20, sum(1 for folder in folders for _ in folder.rglob("*")), handles
    )


def never_together(corpus: Corpus, seed: int = 0) -> Iterator[str]:
    """Questions over three documents each, no three twice."""
    rng, seen = random.Random(seed), set[tuple[int, ...]]()
    while True:
        numbers = tuple(sorted(rng.sample(range(corpus.num_documents), TOP_K)))
        if numbers not in seen:
            seen.add(numbers)
            yield corpus.question(numbers)


def soak(url: str, corpus: Corpus, options: argparse.Namespace) -> list[Look]:
    """Load without a pause; a look at the server after each batch."""
    questions, looks, requests = never_together(corpus), list[Look](), 0
    start = time.monotonic()
    while (minute := 1 + int((time.monotonic() - start) / 60)) <= options.minutes:
        run_load(url, "prag", [next(questions) for _ in range(BATCH)], options.at_once, options.max_tokens)
        requests += BATCH
        looks.append(look(minute, requests))
        if len(looks) == 1 or minute > looks[-2].minute:
            print(f"minute {minute}: {requests} requests, {looks[-1].memory_mib:.0f} MiB", flush=True)
    return looks


def by_minute(looks: Sequence[Look]) -> list[dict[str, float]]:
    """The median of each measure in each minute."""
    minutes = sorted({look.minute for look in looks})
    grouped = {minute: [look for look in looks if look.minute == minute] for minute in minutes}
    return [
        {"minute": minute, "requests": group[-1].requests}
        | {name: statistics.median(getattr(look, name) for look in group) for name in MEASURES}
        for minute, group in grouped.items()
    ]


def growth(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Of each measure, from the settled minute to the last, as a share."""
    settled = next((row for row in rows if row["minute"] >= SETTLED), rows[-1])
    return {name: rows[-1][name] / settled[name] - 1 if settled[name] else 0.0 for name in MEASURES}


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak", description=str(__doc__).split("\n\n")[0]
    )
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--documents", type=int, default=300, help="of the bank; three of them make a merge")
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--max-tokens", type=int, default=8, help="of every answer")
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
