"""The merge rules `ties` and `dare`, which drop entries of the factors before they merge them.

Both work on the factors, as PEFT's rules do: every document starts from the one initial adapter, so an entry of one
document's factor has its counterpart in another's. No matrix of a delta's size is made. With a `start` (a warm start) they work
on each entry's difference from it, and add the result to it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from prag_core.config.schema import MergeConfig
from prag_core.identity import digest
from prag_core.merging.merged_adapter import Part
from prag_core.models.lora import AdapterLayout
from prag_core.records import AdapterFactors, Factors


def ties(
    parts: Sequence[Part], layout: AdapterLayout, settings: MergeConfig, start: AdapterFactors | None = None
) -> AdapterFactors:
    """TIES (Yadav et al., 2023), as PEFT's `ties`: in every factor the `density` share of largest entries stays, each place
    elects the sign of its sum, and the weighted entries of that sign are averaged. Rank r."""
    strength = np.array([part.weight * layout.scaling for part in parts])
    weight_b = np.sqrt(np.abs(strength))
    weight_a = (
        np.sign(strength) * weight_b
    )  # the product of both is the weight of the delta, and so carries the sign once
    moved = [part.factors if start is None else moved_from(start, part.factors) for part in parts]
    merged = {
        m.name: Factors(
            _elect_and_average([factors[m.name].a for factors in moved], weight_a, settings.density),
            _elect_and_average([factors[m.name].b for factors in moved], weight_b, settings.density),
        )
        for m in layout.modules
    }
    scale = layout.scaling**0.5  # of each factor, as the weights of 1 above have it
    return merged if start is None else {name: _plus(merged[name], start[name], scale) for name in merged}


def moved_from(start: AdapterFactors, factors: AdapterFactors) -> AdapterFactors:
    """Return each entry's difference from where it started."""
    return {name: _plus(factors[name], start[name], -1.0) for name in factors}


def _plus(factors: Factors, start: Factors, scale: float) -> Factors:
    a, b = (tensor + scale * origin for tensor, origin in zip(factors, start, strict=True))
    return Factors(np.asarray(a, factors.a.dtype), np.asarray(b, factors.b.dtype))


def _elect_and_average(tensors: Sequence[np.ndarray], weights: np.ndarray, density: float) -> np.ndarray:
    trimmed = np.stack([keep_largest(tensor, density) for tensor in tensors])
    elected = np.where(trimmed.sum(axis=0) >= 0, 1, -1)
    agreeing = np.sign(trimmed) == elected
    total = (trimmed * weights[:, None, None] * agreeing).sum(axis=0)
    return np.asarray(total / np.maximum(agreeing.sum(axis=0), 1), trimmed.dtype)


def keep_largest(tensor: np.ndarray, density: float) -> np.ndarray:
    """Keep the `density` share of entries with the largest magnitudes, and set the others to zero."""
    dropped = tensor.size - int(density * tensor.size)
    if not dropped:
        return tensor
    kept = tensor.copy().reshape(-1)
    kept[np.argpartition(np.abs(kept), dropped - 1)[:dropped]] = 0
    return kept.reshape(tensor.shape)


def drop_and_rescale(
    parts: Sequence[Part], layout: AdapterLayout, settings: MergeConfig, start: AdapterFactors | None = None
) -> list[Part]:
    """DARE (Yu et al., 2024): of every factor a random `density` share of entries stays, divided by `density`, so that its
    expected value does not change. The entries dropped depend on the document's version and the seed alone."""
    return [replace(part, factors=_drop(part, layout, settings, start)) for part in parts]


def _drop(
    part: Part, layout: AdapterLayout, settings: MergeConfig, start: AdapterFactors | None
) -> AdapterFactors:
    random = np.random.default_rng(int(digest(["dare", settings.seed, part.version]), 16))
    moved = part.factors if start is None else moved_from(start, part.factors)

    def thin(tensor: np.ndarray) -> np.ndarray:
        kept = random.random(tensor.shape, dtype=np.float32) < settings.density
        return np.asarray(tensor * kept / settings.density, tensor.dtype)

    kept = {m.name: Factors(*map(thin, moved[m.name])) for m in layout.modules}
    return kept if start is None else {name: _plus(kept[name], start[name], 1.0) for name in kept}
