"""Benchmark of training, in one run on the same documents: the published loop, the fair one, and ours.

    python -m benchmarks.train                                  # the miniature model, on this machine's processor or GPU
    python -m benchmarks.train --model llama-3.2-1b --documents 1024 --compile   # random weights of that shape; meant for a GPU

All use the same number of threads, and each is warmed up first (so compilation is not in the rates; it is printed). Loops that
are slow train fewer documents, the first ones of the same list. Utilisation is FLOP (4 · parameters a token) a second
over the best matrix product measured in this run, in whichever precision is fastest. Needs torch, transformers, peft,
safetensors and pyarrow, and nothing else.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from benchmarks import machine
from benchmarks.documents import augmented_documents, random_samples
from benchmarks.loops import Clock, FairLoop, published, save_initial
from benchmarks.models import MODELS, flop_per_token, load
from prag_core.bank import Bank, Stage
from prag_core.config.schema import Dtype, Tier, TrainingConfig
from prag_core.identity import Recipe
from prag_core.models.base_model import TORCH_DTYPES, default_device
from prag_core.models.lora import AdapterLayout, initial_factors, layout_of
from prag_core.records import Adapter, AdapterFactors, Sample
from prag_core.stages.background import BackgroundWriter, prefetch
from prag_core.training.samples import build_samples
from prag_core.training.trainer import TrainingItem, train_documents

TARGETS = ["gate_proj", "up_proj", "down_proj"]
PROMPT: Any = SimpleNamespace(with_title=False, cot=False)
SYSTEMS = ("published", "fair", "ours", "ours compiled")
PARTS = ("tokenise", "load", "train", "extract", "write", "wait")


@dataclass
class Workload:
    """A model on a device, and the documents to train over it."""

    model: Any
    tokenizer: Any
    layout: AdapterLayout
    initial: AdapterFactors
    device: torch.device
    num_documents: int

    def samples(self, count: int, clock: Clock | None = None) -> Iterator[list[Sample]]:
        """Yield one epoch of each of the first `count` documents; the time of making it goes to `clock`."""
        if self.tokenizer is None:
            yield from random_samples(self.num_documents + 1, self.model.config.vocab_size)[:count]
            return
        length = self.model.config.max_position_embeddings
        for document, augmentation in augmented_documents(self.num_documents)[:count]:
            start = time.perf_counter()
            samples = build_samples(document, augmentation, self.tokenizer, PROMPT, max_length=length)
            if clock is not None:
                clock.add("tokenise", start)
            yield samples


def prepare(name: str, dtype: Dtype, device: torch.device, num_documents: int) -> Workload:
    model, tokenizer = load(name, dtype, device)
    layout = layout_of(model, rank=2, alpha=32.0, targets=TARGETS)
    return Workload(model, tokenizer, layout, initial_factors(layout, 0), device, num_documents)


def run_published(work: Workload, count: int, out: Path) -> Clock:
    bare = save_initial(work.model, work.layout, out / "initial")
    documents = list(work.samples(count + 1))
    bare = published(bare, documents[-1:], out / "initial", out / "warm", Clock())
    clock = Clock()
    documents = list(work.samples(count, clock))
    work.model = published(bare, documents, out / "initial", out, clock)
    return clock


def run_fair(work: Workload, count: int, out: Path) -> Clock:
    loop = FairLoop(work.model, work.layout, work.initial)
    loop.run(list(work.samples(min(count, 2))), out, Clock())
    clock = Clock()
    loop.run(list(work.samples(count, clock)), out, clock)
    work.model = loop.close()
    return clock


def run_ours(work: Workload, count: int, out: Path, settings: TrainingConfig) -> tuple[Clock, float]:
    """Run the training stage as a run does: samples prefetched, adapters written to a bank in the background.

    It runs twice. Returns the clock of the second time and the seconds of the first.
    """
    bank = Bank.create(str(out / "bank"), Recipe({"benchmark": "train"}), work.layout, work.initial)
    start = time.perf_counter()
    _train_shard(work, bank, "warm", count, settings)
    warm = time.perf_counter() - start
    return _train_shard(work, bank, "timed", count, settings), warm


def _train_shard(work: Workload, bank: Bank, shard: str, count: int, settings: TrainingConfig) -> Clock:
    clock, start = Clock(), time.perf_counter()
    numbered = enumerate(work.samples(count, clock))
    items = prefetch((TrainingItem((f"{n}", 0), f"{n:064d}", samples) for n, samples in numbered), depth=256)
    with bank.begin(Stage.adapters, shard, Tier.fp32) as writer:
        with BackgroundWriter(writer.add, depth=64) as writing:
            for record in train_documents(work.model, work.layout, work.initial, items, settings):
                assert isinstance(record, Adapter)
                clock.trained(int(record.doc_id), record.tokens, record.loss_last)
                writing.put(record)
        committing = time.perf_counter()
        writer.commit([])
        writing.seconds_waited += time.perf_counter() - committing
    wall = time.perf_counter() - start
    clock.seconds |= {
        "train": wall - writing.seconds_waited,
        "write": writing.seconds_busy,
        "wait": writing.seconds_waited,
    }
    clock.seconds["wall"] = wall
    return clock


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    options = parse(argv)
    device = torch.device(options.device)
    systems = [
        ("published", Dtype.float32),
        *((s, d) for s in ("fair", "ours") for d in (Dtype.float32, Dtype.bfloat16)),
    ]
    systems += [("ours compiled", Dtype.bfloat16)] if options.compile else []
    dtypes = {dtype: machine.matrix_rate(device, TORCH_DTYPES[dtype]) for _, dtype in systems}
    rows = [
        measure(name, dtype, options, device, max(dtypes.values()))
        for name, dtype in systems
        if wanted(name, options)
    ]
    report(rows, dtypes, options)
    return {
        "model": options.model,
        "matrix_rate": {d.value: rate for d, rate in dtypes.items()},
        "systems": rows,
    }


def wanted(name: str, options: argparse.Namespace) -> bool:
    return name in options.only and (bool(options.published) or name != "published")


def measure(
    name: str, dtype: Dtype, options: argparse.Namespace, device: torch.device, rate: float
) -> dict[str, Any]:
    """Measure one system."""
    work = prepare(options.model, dtype, device, options.documents)
    machine.reset_peak_memory(device)
    first = 0.0
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        if name == "published":
            clock = run_published(work, options.published, Path(folder))
        elif name == "fair":
            clock = run_fair(work, options.fair, Path(folder))
        else:
            settings = TrainingConfig(compile=name.endswith("compiled"), cohort_documents=options.cohort)
            clock, first = run_ours(work, options.documents, Path(folder), settings)
    compared = min(
        options.published or options.fair, options.fair, options.documents
    )  # documents that all have trained
    wall = clock.seconds.get("wall") or sum(clock.seconds.values())
    tokens = clock.tokens / wall
    return {
        "system": name,
        "dtype": dtype.value,
        "documents": clock.documents,
        "documents_per_second": clock.documents / wall,
        "tokens_per_second": tokens,
        "tokens_per_document": clock.tokens / clock.documents,
        "utilisation": tokens * flop_per_token(work.model) / rate,
        "peak_bytes": machine.peak_memory(device),
        "last_loss": sum(clock.losses[n] for n in range(compared)) / compared,
        "seconds": clock.seconds,
        "wall_seconds": wall,
        "first_pass_seconds": first,
        "whole_seconds": time.perf_counter() - start,
    }


def report(rows: Sequence[dict[str, Any]], rates: dict[Dtype, float], options: argparse.Namespace) -> None:
    """Print two tables: rates with their ratios, and time by part."""
    speed = {(row["system"], row["dtype"]): row["documents_per_second"] for row in rows}
    fair = max((value for (system, _), value in speed.items() if system == "fair"), default=float("nan"))
    slow = speed.get(("published", "float32"))
    machine.show(
        f"{options.model}: training, {machine.machine_name()}; matrix product "
        + ", ".join(f"{rate / 1e9:,.0f} GFLOP/s in {dtype.value}" for dtype, rate in rates.items()),
        [
            "system",
            "dtype",
            "documents",
            "documents/s",
            "tokens/s",
            "× fair",
            "× published",
            "utilisation %",
            "peak MB",
            "loss",
        ],
        [
            [
                row["system"],
                row["dtype"],
                row["documents"],
                row["documents_per_second"],
                row["tokens_per_second"],
                row["documents_per_second"] / fair,
                row["documents_per_second"] / slow if slow else "–",
                100 * row["utilisation"],
                row["peak_bytes"] / 1e6,
                f"{row['last_loss']:.4f}",
            ]
            for row in rows
        ],
    )
    parts = [part for part in PARTS if part in chain.from_iterable(row["seconds"] for row in rows)]
    machine.show(
        "Milliseconds a document by part (ours: tokenise and write run beside train; wait is what training waited for them)",
        ["system", "dtype", *parts, "first pass, s"],
        [
            [
                row["system"],
                row["dtype"],
                *(
                    1e3 * row["seconds"][part] / row["documents"] if part in row["seconds"] else "–"
                    for part in parts
                ),
                row["first_pass_seconds"] or "–",
            ]
            for row in rows
        ],
    )


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.train", description=str(__doc__).split("\n\n")[0]
    )
    parser.add_argument("--model", choices=MODELS, default="mini")
    parser.add_argument("--device", default=default_device())
    parser.add_argument("--documents", type=int, default=128, help="documents that ours trains")
    parser.add_argument("--fair", type=int, default=24, help="documents of the fair loop")
    parser.add_argument(
        "--published", type=int, default=2, help="documents of the published loop; 0 leaves it out"
    )
    parser.add_argument("--cohort", type=int, help="documents trained at once (default: as a run chooses)")
    parser.add_argument("--only", nargs="+", choices=SYSTEMS, default=SYSTEMS, help="run only these systems")
    parser.add_argument("--compile", action="store_true", help="also ours with training.compile")
    return parser.parse_args(argv)


if __name__ == "__main__":
    machine.save("train", main())
