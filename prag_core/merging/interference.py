"""Interference of documents' adapters: the cosines between their deltas.

The inner product of two deltas needs their factors alone: ⟨B₁A₁, B₂A₂⟩ = tr(A₁ᵀB₁ᵀB₂A₂) = sum over (B₁ᵀB₂) ∘ (A₁A₂ᵀ), two
[rank, rank] matrices. A delta here is all modules together, so there is one cosine for each pair of documents. 0: they change
unrelated directions, and the sum keeps both; 1: the same direction, and the sum overshoots; -1: they cancel. A warm start that
counts once in the merge is subtracted from each delta first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prag_core.models.lora import AdapterLayout
from prag_core.records import AdapterFactors

ROUNDING = 1e-12  # of the largest square: a delta of less is none


@dataclass(frozen=True)
class Interference:
    """Cosines `cosine_kk[i, j]` between documents i and j in the order given; mean and largest of pairs i < j (0 without one)."""

    cosine_kk: np.ndarray
    mean: float
    largest: float


def interference(
    adapters: Sequence[AdapterFactors], layout: AdapterLayout, start: AdapterFactors | None = None
) -> Interference:
    """Compute the cosines between the adapters' deltas, each less that of `start`. Weights and scaling do not change them; a
    delta of zero has cosine 0 with every other."""
    count = len(adapters)
    inner_kk = _inner_products(adapters if start is None else [*adapters, start], layout)
    largest = np.abs(inner_kk).max(initial=0.0)
    if start is not None:  # ⟨x - s, y - s⟩ = ⟨x, y⟩ - ⟨x, s⟩ - ⟨s, y⟩ + ⟨s, s⟩
        inner_kk = (inner_kk - inner_kk[:, -1:] - inner_kk[-1:, :] + inner_kk[-1, -1])[:-1, :-1]
    square_k = inner_kk.diagonal()
    norm_k = np.sqrt(np.where(square_k > ROUNDING * largest, square_k, 0.0))
    norms_kk = np.outer(norm_k, norm_k)
    cosine_kk = np.divide(inner_kk, norms_kk, out=np.zeros_like(inner_kk), where=norms_kk > 0)
    pairs = cosine_kk[np.triu_indices(count, k=1)]
    return Interference(
        cosine_kk, float(pairs.mean()) if len(pairs) else 0.0, float(pairs.max()) if len(pairs) else 0.0
    )


def _inner_products(adapters: Sequence[AdapterFactors], layout: AdapterLayout) -> np.ndarray:
    count = len(adapters)
    inner_kk = np.zeros((count, count))
    for module in (m.name for m in layout.modules):
        a_rows = np.concatenate([factors[module].a for factors in adapters]).astype(np.float64)
        b_columns = np.concatenate([factors[module].b for factors in adapters], axis=1).astype(np.float64)
        products = (b_columns.T @ b_columns) * (a_rows @ a_rows.T)
        inner_kk += products.reshape(count, layout.rank, count, layout.rank).sum(axis=(1, 3))
    return inner_kk
