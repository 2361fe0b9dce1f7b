"""The rules whose result is an exact weighted sum of deltas: `sum`, `mean` and `score_weighted` differ in the weights."""

from __future__ import annotations

from collections.abc import Sequence

from prag_core.config.schema import MergeConfig


def equal_weights(scores: Sequence[float], settings: MergeConfig) -> list[float]:
    return [1.0] * len(scores)


def mean_weights(scores: Sequence[float], settings: MergeConfig) -> list[float]:
    return [1.0 / len(scores)] * len(scores)


def score_weights(scores: Sequence[float], settings: MergeConfig) -> list[float]:
    """Weights wᵢ = (max(sᵢ, 0) / max s) ** sharpness: the best passage weighs 1, the others their share of its score.

    Ratios, because BM25's scale is the question's own. The best weighs 1 and not its share of a fixed total, because an
    adapter was trained to act at weight 1; so equal scores give the sum. Without a positive score all weigh 1.
    """
    best = max(scores)
    if best <= 0:
        return equal_weights(scores, settings)
    return [(max(score, 0.0) / best) ** settings.sharpness for score in scores]
