"""The merge rule `svd`: the exact sum, cut back to the best adapter of a smaller rank (Eckart–Young). No delta is formed.

The stacked factors are thin: b [out, K] and aᵀ [in, K] with K = Σr. Their QR decompositions leave a core of [K, K], whose
singular values are the delta's own. That costs O((out + in) · K²) a module instead of O(out · in · min(out, in)).
"""

from __future__ import annotations

import numpy as np

from prag_core.records import AdapterFactors, Factors


def truncate(factors: AdapterFactors, rank: int) -> AdapterFactors:
    """Find the factors of rank `rank` whose product is nearest to that of `factors` (Frobenius). Singular values go into b, as
    PEFT has it; a's rows are orthonormal."""
    return {name: _truncate(pair, rank) for name, pair in factors.items()}


def _truncate(pair: Factors, rank: int) -> Factors:
    q_b, r_b = np.linalg.qr(pair.b.astype(np.float64))
    q_a, r_a = np.linalg.qr(pair.a.T.astype(np.float64))
    u, singular, vt = np.linalg.svd(r_b @ r_a.T, full_matrices=False)
    kept = min(rank, len(singular))  # a module narrower than the rank leaves rows and columns of zeros
    a, b = np.zeros((rank, pair.a.shape[1]), pair.a.dtype), np.zeros((pair.b.shape[0], rank), pair.b.dtype)
    a[:kept] = vt[:kept] @ q_a.T
    b[:, :kept] = q_b @ (u[:, :kept] * singular[:kept])
    return Factors(a, b)
