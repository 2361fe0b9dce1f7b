"""Uncertainty of scores: bootstrap intervals, paired permutation tests, and Holm's correction for several of them.

The unit is the question. Everything is seeded: one report, one set of numbers.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np

from prag_core.evaluation.extra import require

require("scipy")

Values = Sequence[float] | np.ndarray
CELLS = 4_000_000  # numbers resampled at once: bounds memory, changes nothing


def mean_interval(
    values: Values, *, num_resamples: int, seed: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Compute the bootstrap interval of the mean (bias-corrected and accelerated). Values that are all equal, or only one, have
    no spread to resample: their interval is the point itself. Raises ValueError without values."""
    sample = np.asarray(values, np.float64)
    if sample.size == 0:
        raise ValueError("an interval needs at least one value")
    if np.ptp(sample) == 0:
        return float(sample[0]), float(sample[0])
    from scipy import stats  # of the extra, and slow to import

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        low, high = _bootstrap(sample, "BCa", num_resamples, seed, confidence)
    if math.isnan(low) or math.isnan(high):  # too few distinct values to estimate the correction
        low, high = _bootstrap(sample, "percentile", num_resamples, seed, confidence)
    return low, high


def _bootstrap(
    sample: np.ndarray, method: str, num_resamples: int, seed: int, confidence: float
) -> tuple[float, float]:
    from scipy import stats  # of the extra, and slow to import

    result = stats.bootstrap(
        (sample,),
        np.mean,
        n_resamples=num_resamples,
        method=method,
        confidence_level=confidence,
        batch=_batch(sample),
        rng=np.random.default_rng(seed),
        vectorized=True,
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def paired_p_value(method: Values, baseline: Values, *, num_resamples: int, seed: int) -> float:
    """Compute the two-sided p of "swapping the two answers of any question changes nothing" (paired permutation test of the mean
    difference; exact where all swaps fit in `num_resamples`). Raises ValueError on unequal lengths."""
    first, second = np.asarray(method, np.float64), np.asarray(baseline, np.float64)
    if first.shape != second.shape:
        raise ValueError(f"paired values must be as many: {first.shape} and {second.shape}")
    if np.array_equal(first, second):
        return 1.0
    from scipy import stats  # of the extra, and slow to import

    result = stats.permutation_test(
        (first, second),
        _mean_difference,
        permutation_type="samples",
        n_resamples=num_resamples,
        batch=_batch(first),
        rng=np.random.default_rng(seed),
        vectorized=True,
    )
    return float(result.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p values by Holm's step-down method: the chance of any false alarm among all these comparisons stays below the
    level."""
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


def _mean_difference(first: np.ndarray, second: np.ndarray, axis: int) -> np.ndarray:
    return np.mean(first, axis=axis) - np.mean(second, axis=axis)


def _batch(sample: np.ndarray) -> int:
    return max(1, CELLS // sample.size)
