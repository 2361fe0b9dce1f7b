"""Benchmark of the steps of one cohort by objective: how near training comes to the machine's own matrix products.

    python -m benchmarks.step --model smollm2-135m              # one thread of the processor

Time is that of this process on the processor, in one thread, so that neighbours do not count beyond what they take of the
caches. Utilisation is the FLOP that the objective needs over the best matrix product of the same run: 4 for each parameter of
the layers and token, 4 for each of the head's and label; and where there is a teacher, who reads every sample once, half of
that for what it reads.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from benchmarks import machine
from benchmarks.documents import distilled_samples, random_samples
from benchmarks.models import SHAPES, load
from benchmarks.train import TARGETS
from prag_core.config.schema import Dtype, TrainingConfig
from prag_core.models.base_model import TORCH_DTYPES
from prag_core.models.lora import initial_factors, layout_of
from prag_core.records import IGNORED, Sample
from prag_core.training.batch_size import choose_cohort_size
from prag_core.training.cohort import train_cohort

SAMPLES: dict[str, Callable[[int, int], list[list[Sample]]]] = {
    "next_token": random_samples,
    "distill": distilled_samples,
}


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    options = parse(argv)
    model, _ = load(options.model, options.dtype, machine.CPU)
    rows = [measure(model, objective, options) for objective in options.objective]
    machine.show(
        f"{options.model} in {options.dtype.value}: steps of one cohort, {machine.machine_name()}",
        ["objective", "documents", "documents/s", "tokens/s", "GFLOP/s", "of", "utilisation %", "peak MB"],
        [
            [
                row["objective"],
                row["documents"],
                row["documents"] / row["seconds"],
                row["tokens"] / row["seconds"],
                row["flop"] / row["seconds"] / 1e9,
                row["matrix_rate"] / 1e9,
                100 * row["flop"] / row["seconds"] / row["matrix_rate"],
                row["peak_bytes"] / 1e6,
            ]
            for row in rows
        ],
    )
    return {"model": options.model, "dtype": options.dtype.value, "steps": options.steps, "objectives": rows}


def measure(model: Any, objective: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train the first `steps` samples of one cohort's documents; the first two are trained before, as a warm-up."""
    layout = layout_of(model, rank=2, alpha=32.0, targets=TARGETS)
    initial, settings = initial_factors(layout, 0), TrainingConfig(objective=objective, dtype=options.dtype)
    make = SAMPLES[objective]
    longest = max(len(sample.token_ids) for sample in make(1, model.config.vocab_size)[0])
    count = options.documents or choose_cohort_size(model, layout, longest)
    documents = [samples[: options.steps] for samples in make(count, model.config.vocab_size)]
    list(train_cohort(model, layout, initial, documents[:2], settings))
    machine.reset_peak_memory(machine.CPU)
    start = time.process_time()
    list(train_cohort(model, layout, initial, documents, settings))
    seconds = time.process_time() - start
    return {
        "objective": objective,
        "documents": count,
        "tokens": sum(len(sample.token_ids) for samples in documents for sample in samples),
        "seconds": seconds,
        "flop": sum(flop(model, sample) for samples in documents for sample in samples),
        "matrix_rate": machine.matrix_rate(
            machine.CPU, TORCH_DTYPES[options.dtype], 1.0, clock=time.process_time
        ),
        "peak_bytes": machine.peak_memory(machine.CPU),
    }


def flop(model: Any, sample: Sample) -> int:
    """Return the FLOP that one step on a sample needs; attention's own products, adapters and the optimiser are not counted."""
    head = model.get_output_embeddings().weight.numel()
    layers = sum(parameter.numel() for parameter in model.base_model.layers.parameters())
    labels = sum(label != IGNORED for label in sample.labels[1:])
    student = 4 * (layers * len(sample.token_ids) + head * labels)
    return student + 2 * (layers * len(sample.teacher_ids) + head * labels * bool(sample.teacher_ids))


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.step", description=str(__doc__).split("\n\n")[0]
    )
    parser.add_argument("--model", choices=list(SHAPES), default="smollm2-135m")
    parser.add_argument("--dtype", type=Dtype, choices=list(Dtype), default=Dtype.bfloat16)
    parser.add_argument("--objective", nargs="+", choices=list(SAMPLES), default=list(SAMPLES))
    parser.add_argument("--documents", type=int, help="documents trained at once (default: as a run chooses)")
    parser.add_argument("--steps", type=int, default=3, help="samples of each document")
    return parser.parse_args(argv)


if __name__ == "__main__":
    torch.set_num_threads(1)
    machine.save("step", main())
