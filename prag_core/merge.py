"""Several documents' adapters → one: merge rules by name.

The default is the exact sum: factors concatenated on the rank axis, so that the merged delta is the weighted sum of
the deltas. Scaling is folded into the factors, so a merged adapter has alpha equal to its rank (scaling 1). Its name is
the hash of what went into it: equal sets of documents, in any order, give the same name and the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from prag_core.errors import ConfigError
from prag_core.identity import digest
from prag_core.lora import AdapterLayout, check_factors
from prag_core.records import AdapterFactors, Factors

Versioned = tuple[str, AdapterFactors]  # adapter version (identity.adapter_version) and its factors


@dataclass(frozen=True, slots=True)
class MergedAdapter:
    """Adds `b @ a` per module: scaling is 1, alpha equals `rank`."""

    name: str
    factors: AdapterFactors
    rank: int
    scaling: float = 1.0


Merge = Callable[[Sequence[Versioned], AdapterLayout, "Sequence[float] | None"], MergedAdapter]


def merge_cat(adapters: Sequence[Versioned], layout: AdapterLayout, weights: Sequence[float] | None = None) -> MergedAdapter:
    """The exact sum Σ wᵢ · scaling · bᵢ @ aᵢ (weights: all 1), of rank k·r. PEFT calls it `cat`.

    Raises ModelError where an adapter does not fit the layout or is not finite.
    """
    if not adapters:
        raise ValueError("nothing to merge: at least one adapter is needed")
    weights = [1.0] * len(adapters) if weights is None else [float(weight) for weight in weights]
    ordered = sorted(zip(adapters, weights, strict=True), key=lambda pair: (pair[0][0], pair[1]))
    for (_, factors), _ in ordered:
        check_factors(factors, layout)
    merged = {
        m.name: Factors(
            np.concatenate([factors[m.name].a * (weight * layout.scaling) for (_, factors), weight in ordered], axis=0),
            np.concatenate([factors[m.name].b for (_, factors), _ in ordered], axis=1),
        )
        for m in layout.modules
    }
    name = digest(["sum", [[version, weight] for (version, _), weight in ordered]])
    return MergedAdapter(name, merged, layout.rank * len(ordered))


def pad_rank(merged: MergedAdapter, allowed: Sequence[int]) -> MergedAdapter:
    """The same adapter at the smallest allowed rank that holds it, filled with zeros: what it adds does not change."""
    fitting = [rank for rank in allowed if rank >= merged.rank]
    if not fitting:
        raise ConfigError(f"merged rank {merged.rank} is above the engine's largest, {max(allowed)}; lower retrieval.top_k")
    extra = min(fitting) - merged.rank
    factors = {
        name: Factors(np.pad(pair.a, ((0, extra), (0, 0))), np.pad(pair.b, ((0, 0), (0, extra))))
        for name, pair in merged.factors.items()
    }
    return replace(merged, factors=factors, rank=min(fitting))


MERGES: dict[str, Merge] = {"sum": merge_cat}
