"""A merged adapter, what it is made from, and the exact sum: factors laid side by side on the rank axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prag_core.models.lora import AdapterLayout
from prag_core.records import AdapterFactors, Factors

Versioned = tuple[str, AdapterFactors]  # adapter version (identity.adapter_version) and its factors


ROUNDING = 1e-9  # a weight that is nothing but the error of a sum


@dataclass(frozen=True, slots=True)
class Part:
    """One adapter in a merge: its version and factors, and the weight of its delta."""

    version: str
    factors: AdapterFactors
    weight: float


@dataclass(frozen=True, slots=True)
class MergedAdapter:
    """A merged adapter: it adds `b @ a` per module, so scaling is 1 and alpha equals `rank`."""

    name: str
    factors: AdapterFactors
    rank: int


def with_start(parts: Sequence[Part], start: Part | None) -> list[Part]:
    """Return the parts of an exact sum in which their warm start counts once; the parts alone where their weights make it so."""
    return [*parts, start] if start is not None and abs(start.weight) > ROUNDING else list(parts)


def concatenate(parts: Sequence[Part], layout: AdapterLayout) -> AdapterFactors:
    """Concatenate factors: their product is Σ wᵢ · scaling · bᵢ @ aᵢ, exactly, with a [Σr, in] and b [out, Σr]. Weights and
    scaling go into a."""
    return {
        m.name: Factors(
            np.concatenate(
                [part.factors[m.name].a * (part.weight * layout.scaling) for part in parts], axis=0
            ),
            np.concatenate([part.factors[m.name].b for part in parts], axis=1),
        )
        for m in layout.modules
    }
