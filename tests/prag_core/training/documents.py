"""Documents to train on: random samples, an initial adapter, and what it means that two adapters are the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from prag_core.models.lora import AdapterLayout, initial_factors, layout_of
from prag_core.records import AdapterFactors, Sample

TARGETS = ["gate_proj", "up_proj", "down_proj"]
TIGHT: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-9}
LENGTHS = [
    (9, 17, 5, 12, 30),
    (3, 4),
    (21, 8, 8),
    (2,),
    (40, 11, 6, 7, 19),
]  # tokens of each sample of each document


def random_samples(
    lengths: Sequence[Sequence[int]] = LENGTHS, vocab_size: int = 64, seed: int = 0
) -> list[list[Sample]]:
    generator = np.random.default_rng(seed)

    def sample(length: int) -> Sample:
        tokens = tuple(int(token) for token in generator.integers(0, vocab_size, length))
        return Sample(tokens, tokens)

    return [[sample(length) for length in document] for document in lengths]


def start(model: Any, rank: int = 2) -> tuple[AdapterLayout, AdapterFactors]:
    layout = layout_of(model, rank=rank, alpha=32.0, targets=TARGETS)
    return layout, initial_factors(layout, seed=1)


def assert_same(left: AdapterFactors, right: AdapterFactors) -> None:
    assert list(left) == list(right)
    for name in left:
        for one, other in zip(left[name], right[name], strict=True):
            np.testing.assert_allclose(one, other, **TIGHT)
