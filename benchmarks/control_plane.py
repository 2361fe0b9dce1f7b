"""Benchmark of the driver's work at a million documents: plan, commit, snapshot, resume, look up.

Adapters have two numbers each, so that nothing but bookkeeping is measured.

    python -m benchmarks.control_plane --documents 10000 100000 1000000 --folder /tmp/control-plane

The same command resumes a run that was stopped (`--seconds` stops it between two shards), so that a million documents need
not be one long run. Time, bytes and memory are measured for each phase alone, memory as the process's peak in that phase.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import machine
from benchmarks.documents import MINI
from prag_core.bank import AdapterReader, Bank, Stage
from prag_core.bank.tables import WANTED, from_parquet
from prag_core.config.load import load_config
from prag_core.config.schema import Config
from prag_core.corpus.reader import read_corpus
from prag_core.identity import content_hash
from prag_core.models.lora import AdapterLayout, ModuleShape
from prag_core.planning.plan import Plan, Shard, load_unfinished
from prag_core.planning.planner import make_plan
from prag_core.planning.recipe import PreparedRecipe, prepare_recipe
from prag_core.records import Adapter, Augmentation, Factors, QAPair

TINY = AdapterLayout((ModuleShape("module", 1, 1),), rank=1, alpha=1.0)
NUMBER = {"module": Factors(np.ones((1, 1), np.float32), np.ones((1, 1), np.float32))}
PAIRS = (QAPair("Who?", "Nobody", "Nobody."),) * 3
LOOKUPS = 1000
CONTENT = ("documents", "augmentations", "adapters")
PHASES = ("plan", "commit", "snapshot", "resume", "open", "lookup")


class OutOfTime(Exception):
    """Raised when the allowed time is over; the work done so far is kept."""


class Run:
    """One size: its corpus, its bank and the measurements so far, in a folder of its own."""

    def __init__(self, folder: Path, documents: int, deadline: float, settings: Sequence[str] = ()) -> None:
        self.folder, self.documents, self.deadline = folder / str(documents), documents, deadline
        self.folder.mkdir(parents=True, exist_ok=True)
        self.record = self.folder / "figures.json"
        self.phases: dict[str, dict[str, float]] = (
            json.loads(self.record.read_text()) if self.record.exists() else {}
        )
        self.config, self.prepared = self._prepare(settings)

    def _prepare(self, more: Sequence[str]) -> tuple[Config, PreparedRecipe]:
        corpus = self.folder / "corpus.jsonl"
        if not corpus.exists():
            with corpus.with_suffix(".part").open("w") as file:
                for n in range(self.documents):
                    text = f"Document {n} says that its number is {n * n}, and that nothing else about it matters here."
                    file.write(
                        json.dumps({"doc_id": f"doc-{n:08d}", "title": f"Document {n}", "text": text}) + "\n"
                    )
            corpus.with_suffix(".part").rename(corpus)
        settings = [
            f"corpus.uri={corpus}",
            f"bank.uri={self.folder / 'bank'}",
            f"model.path={MINI / 'model'}",
            *more,
        ]
        config = load_config(settings)
        return config, replace(prepare_recipe(config), layout=TINY, initial=NUMBER)

    def bank(self) -> Bank:
        return Bank.create(self.config.bank.uri, self.prepared.recipe, TINY, NUMBER)

    def plan(self) -> Plan:
        return make_plan(self.config, self.bank(), read_corpus(self.config.corpus), self.prepared, write=True)

    def shards(self) -> list[Shard]:
        return list(load_unfinished(self.bank())[0])

    def commit(self) -> None:
        """Commit both stages of every shard, without the work between."""
        bank = self.bank()
        done = bank.committed_shards(Stage.adapters)
        for shard in self.shards():
            if shard.shard_id in done:
                continue
            if time.monotonic() > self.deadline:
                raise OutOfTime
            documents = [(d, content_hash(d)) for d in bank.read_documents(shard.documents_object)]
            with bank.begin(Stage.augmentations, shard.shard_id) as writer:
                for document, content in documents:
                    writer.add(Augmentation(*document.key, content, ("said otherwise",), PAIRS, "nobody"))
                augmented = writer.commit()
            with bank.begin(Stage.adapters, shard.shard_id) as writer:
                for document, content in documents:
                    writer.add(
                        Adapter(
                            *document.key, content, NUMBER, steps=5, tokens=700, loss_first=2.0, loss_last=1.0
                        )
                    )
                writer.commit(augmented.objects)

    def resume(self) -> None:
        plan = self.plan()
        assert not plan.shards and plan.counts.done == self.documents, (
            "a committed document was planned again"
        )

    def lookup(self) -> None:
        """Read adapters at random, each through the index and one ranged read."""
        snapshot = self.bank().latest_snapshot()
        assert snapshot is not None
        reader = AdapterReader(self.bank(), snapshot)
        _ = snapshot.index
        start = time.perf_counter()
        for n in random.Random(0).sample(range(self.documents), min(LOOKUPS, self.documents)):
            assert reader.fetch([(f"doc-{n:08d}", 0)])
        self.phases["lookup"] = {
            "ms_each": 1e3 * (time.perf_counter() - start) / min(LOOKUPS, self.documents)
        }

    def open(self) -> None:
        snapshot = self.bank().latest_snapshot()
        assert snapshot is not None and snapshot.index.num_rows == self.documents

    def snapshot(self) -> None:
        bank = self.bank()
        wanted = from_parquet(bank.read_run(bank.list_runs()[0], "wanted.parquet"), "wanted.parquet").cast(
            WANTED
        )
        assert bank.write_snapshot(wanted).counts["adapter"] == self.documents

    def measure(self, phase: str, work: Callable[[], object]) -> None:
        """Run a phase unless it is done. An interrupted phase keeps its time and resumes at the next run."""
        measured = self.phases.get(phase, {})
        if measured.get("done"):
            return
        machine.reset_peak_memory(machine.CPU)
        start, finished = time.perf_counter(), 0.0
        try:
            work()
            finished = 1.0
        finally:
            seconds = measured.get("seconds", 0.0) + time.perf_counter() - start
            peak = max(measured.get("peak_bytes", 0.0), machine.peak_memory())
            self.phases[phase] = {
                **self.phases.get(phase, {}),
                "seconds": seconds,
                "peak_bytes": peak,
                "done": finished,
            }
            self.record.write_text(json.dumps(self.phases))

    def run(self) -> None:
        for phase in PHASES:
            if time.monotonic() > self.deadline:
                raise OutOfTime
            self.measure(phase, getattr(self, phase))

    def bytes_by_kind(self) -> dict[str, int]:
        """The bytes in the bank, by top folder."""
        root = Path(self.config.bank.uri)
        kinds = sorted(path.name for path in root.iterdir() if path.is_dir())
        return {
            kind: sum(f.stat().st_size for f in (root / kind).rglob("*") if f.is_file()) for kind in kinds
        }


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    options = parse(argv)
    deadline = time.monotonic() + options.seconds
    done: list[dict[str, Any]] = []
    try:
        for run in runs(options, deadline):
            run.run()
            done.append({"documents": run.documents, "phases": run.phases, "bytes": run.bytes_by_kind()})
    except OutOfTime:
        print("time is over; run the same command to resume")
    report(done)
    return {"sizes": done}


def runs(options: argparse.Namespace, deadline: float) -> Iterator[Run]:
    for count in options.documents:
        yield Run(options.folder, count, deadline)


def report(done: Sequence[dict[str, Any]]) -> None:
    machine.show(
        f"The driver's work, {machine.machine_name()}: microseconds a document",
        ["documents", *PHASES[:-1], "look-up, ms each"],
        [
            [
                row["documents"],
                *(1e6 * row["phases"][phase]["seconds"] / row["documents"] for phase in PHASES[:-1]),
                row["phases"]["lookup"]["ms_each"],
            ]
            for row in done
        ],
    )
    machine.show(
        "Peak memory of the process in MB by phase, and bytes a document in the bank",
        ["documents", *PHASES, "bytes a document", "of them not documents, augmentations, adapters"],
        [
            [
                row["documents"],
                *(row["phases"][phase]["peak_bytes"] / 1e6 for phase in PHASES),
                sum(row["bytes"].values()) / row["documents"],
                sum(n for kind, n in row["bytes"].items() if kind not in CONTENT) / row["documents"],
            ]
            for row in done
        ],
    )


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.control_plane", description=str(__doc__).split("\n\n")[0]
    )
    parser.add_argument("--documents", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument(
        "--folder", type=Path, required=True, help="where corpora and banks are made and kept"
    )
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after this time")
    return parser.parse_args(argv)


if __name__ == "__main__":
    machine.save("control_plane", main())
