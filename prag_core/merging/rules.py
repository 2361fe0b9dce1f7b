"""Merge rules by name, and the one function that applies them.

Documents with a warm start share its delta Δ₀. In a plain sum it would count once for each document; with `merge.warm=once` it
counts once: Δ = Δ₀ + Σ wᵢ (Δᵢ - Δ₀), which is Δ₀ as one more part, of weight 1 - Σ wᵢ.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from prag_core.config.schema import MergeConfig, WarmCount
from prag_core.errors import ConfigError, did_you_mean
from prag_core.identity import digest
from prag_core.merging.exact import equal_weights, mean_weights, score_weights
from prag_core.merging.low_rank import truncate
from prag_core.merging.merged_adapter import MergedAdapter, Part, Versioned, concatenate, with_start
from prag_core.merging.sparse import drop_and_rescale, ties
from prag_core.models.lora import AdapterLayout, check_factors
from prag_core.records import AdapterFactors

Combine = Callable[[Sequence[Part], AdapterLayout, MergeConfig, Part | None], AdapterFactors]
Weigh = Callable[[Sequence[float], MergeConfig], list[float]]  # retrieval scores → weights


@dataclass(frozen=True)
class Rule:
    """A merge rule. `combine` makes one adapter of two or more, and of the warm start that counts once. `settings` are the names
    in MergeConfig that it reads; `rank` gives the merged rank from that of one document and the number of adapters."""

    name: str
    combine: Combine
    rank: Callable[[int, int, MergeConfig], int]
    weigh: Weigh = equal_weights
    settings: tuple[str, ...] = ()


def _stacked_rank(rank: int, count: int, settings: MergeConfig) -> int:
    return rank * count


def _one_rank(rank: int, count: int, settings: MergeConfig) -> int:
    return rank


def _cut_rank(rank: int, count: int, settings: MergeConfig) -> int:
    return min(settings.rank or rank, rank * count)


def _sum(
    parts: Sequence[Part], layout: AdapterLayout, settings: MergeConfig, start: Part | None
) -> AdapterFactors:
    return concatenate(with_start(parts, start), layout)


def _ties(
    parts: Sequence[Part], layout: AdapterLayout, settings: MergeConfig, start: Part | None
) -> AdapterFactors:
    return ties(parts, layout, settings, start.factors if start else None)


def _dare(
    parts: Sequence[Part], layout: AdapterLayout, settings: MergeConfig, start: Part | None
) -> AdapterFactors:
    thinned = drop_and_rescale(parts, layout, settings, start.factors if start else None)
    return concatenate(with_start(thinned, start), layout)


def _svd(
    parts: Sequence[Part], layout: AdapterLayout, settings: MergeConfig, start: Part | None
) -> AdapterFactors:
    stacked = with_start(parts, start)
    return truncate(concatenate(stacked, layout), _cut_rank(layout.rank, len(stacked), settings))


_ALL = (
    Rule("sum", _sum, _stacked_rank),
    Rule("mean", _sum, _stacked_rank, weigh=mean_weights),
    Rule("score_weighted", _sum, _stacked_rank, weigh=score_weights, settings=("sharpness",)),
    Rule("ties", _ties, _one_rank, settings=("density",)),
    Rule("dare", _dare, _stacked_rank, settings=("density", "seed")),
    Rule("svd", _svd, _cut_rank, settings=("rank",)),
)
RULES: Mapping[str, Rule] = {rule.name: rule for rule in _ALL}


def find_rule(name: str) -> Rule:
    """Return the rule of that name. Raises ConfigError naming the nearest known one."""
    if name not in RULES:
        raise ConfigError(
            f"no merge rule {name!r}{did_you_mean(name.lower(), RULES)} (known: {', '.join(RULES)})"
        )
    return RULES[name]


def counts_once(count: int, settings: MergeConfig) -> bool:
    """Tell whether the warm start of `count` documents has a part of its own in their merge."""
    return count > 1 and settings.warm is WarmCount.once


def merged_rank(rank: int, count: int, settings: MergeConfig, *, warm: bool = False) -> int:
    """Return the largest rank that a merge of 1 to `count` adapters of rank `rank` may have, which an engine must hold. `warm`:
    they started from a warm start."""
    adapters = count + (warm and counts_once(count, settings))
    return max(rank, find_rule(settings.rule).rank(rank, adapters, settings))


def merge_adapters(
    adapters: Sequence[Versioned],
    layout: AdapterLayout,
    settings: MergeConfig,
    scores: Sequence[float] | None = None,
    start: Versioned | None = None,
) -> MergedAdapter:
    """Merge adapters into one, by the rule in `settings`. `scores` are the documents' retrieval scores (None: all equal); `start`
    is their warm start, if they have one.

    A single adapter is left as it is. Raises ModelError where an adapter does not fit the layout or is not finite, ConfigError
    for an unknown rule.
    """
    weights = _weights(len(adapters), settings, scores)
    return _merge(
        adapters, weights, layout, settings, start if counts_once(len(adapters), settings) else None
    )


def merged_name(
    versions: Sequence[str],
    settings: MergeConfig,
    scores: Sequence[float] | None = None,
    start: str | None = None,
) -> str:
    """Return the name that `merge_adapters` will give, from the adapters' versions alone: known before any is read."""
    parts = list(zip(versions, _weights(len(versions), settings, scores), strict=True))
    return _name(parts, settings, start if counts_once(len(versions), settings) else None)


def _weights(count: int, settings: MergeConfig, scores: Sequence[float] | None) -> list[float]:
    rule = find_rule(settings.rule)
    if not count:
        raise ValueError("nothing to merge: at least one adapter is needed")
    return rule.weigh([0.0] * count if scores is None else scores, settings) if count > 1 else [1.0]


def _name(parts: Sequence[tuple[str, float]], settings: MergeConfig, start: str | None) -> str:
    used = {name: getattr(settings, name) for name in RULES[settings.rule].settings}
    return digest([settings.rule, used, sorted(parts), *([start] if start else [])])


def merge_cat(
    adapters: Sequence[Versioned], layout: AdapterLayout, weights: Sequence[float] | None = None
) -> MergedAdapter:
    """Merge by the exact sum with the caller's weights (None: all 1), of rank k·r. PEFT calls it `cat`."""
    if not adapters:
        raise ValueError("nothing to merge: at least one adapter is needed")
    return _merge(
        adapters, [1.0] * len(adapters) if weights is None else weights, layout, MergeConfig(), None
    )


def _merge(
    adapters: Sequence[Versioned],
    weights: Sequence[float],
    layout: AdapterLayout,
    settings: MergeConfig,
    start: Versioned | None,
) -> MergedAdapter:
    parts = [
        Part(version, factors, float(weight))
        for (version, factors), weight in zip(adapters, weights, strict=True)
    ]
    parts.sort(key=lambda part: (part.version, part.weight))
    origin = start and Part(*start, weight=1.0 - math.fsum(weights))
    for part in [*parts, origin] if origin else parts:
        check_factors(part.factors, layout)
    combine = RULES[settings.rule].combine if len(parts) > 1 else _sum
    factors = combine(parts, layout, settings, origin)
    name = _name([(part.version, part.weight) for part in parts], settings, start and start[0])
    return MergedAdapter(name, factors, len(next(iter(factors.values())).a))
