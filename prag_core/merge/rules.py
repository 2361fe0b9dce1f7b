"""Merge rules by name, and the one function that applies them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from prag_core.config import MergeConfig
from prag_core.errors import ConfigError
from prag_core.identity import digest
from prag_core.lora import AdapterLayout, check_factors
from prag_core.merge.exact import equal_weights, mean_weights, score_weights
from prag_core.merge.low_rank import truncate
from prag_core.merge.merged import MergedAdapter, Part, Versioned, concatenate
from prag_core.merge.sparse import drop_and_rescale, ties
from prag_core.records import AdapterFactors

Combine = Callable[[Sequence[Part], AdapterLayout, MergeConfig], AdapterFactors]
Weigh = Callable[[Sequence[float], MergeConfig], list[float]]  # retrieval scores → weights


@dataclass(frozen=True)
class Rule:
    """`combine` makes one adapter of two or more. `settings` are the names in MergeConfig that it reads; `rank` gives the merged
    rank from that of one document and their number."""

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


def _sum(parts: Sequence[Part], layout: AdapterLayout, settings: MergeConfig) -> AdapterFactors:
    return concatenate(parts, layout)


def _dare(parts: Sequence[Part], layout: AdapterLayout, settings: MergeConfig) -> AdapterFactors:
    return concatenate(drop_and_rescale(parts, layout, settings), layout)


def _svd(parts: Sequence[Part], layout: AdapterLayout, settings: MergeConfig) -> AdapterFactors:
    return truncate(concatenate(parts, layout), _cut_rank(layout.rank, len(parts), settings))


_ALL = (
    Rule("sum", _sum, _stacked_rank),
    Rule("mean", _sum, _stacked_rank, weigh=mean_weights),
    Rule("score_weighted", _sum, _stacked_rank, weigh=score_weights, settings=("sharpness",)),
    Rule("ties", ties, _one_rank, settings=("density",)),
    Rule("dare", _dare, _stacked_rank, settings=("density", "seed")),
    Rule("svd", _svd, _cut_rank, settings=("rank",)),
)
RULES: Mapping[str, Rule] = {rule.name: rule for rule in _ALL}


def find_rule(name: str) -> Rule:
    """The rule of that name. Raises ConfigError naming the nearest known one."""
    if name not in RULES:
        near = difflib.get_close_matches(name.lower(), RULES, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"no merge rule {name!r}{hint} (known: {', '.join(RULES)})")
    return RULES[name]


def merged_rank(rank: int, count: int, settings: MergeConfig) -> int:
    """The largest rank that a merge of 1 to `count` adapters of rank `rank` may have: what an engine must hold."""
    return max(rank, find_rule(settings.rule).rank(rank, count, settings))


def merge_adapters(
    adapters: Sequence[Versioned], layout: AdapterLayout, settings: MergeConfig, scores: Sequence[float] | None = None
) -> MergedAdapter:
    """One adapter of these, by the rule in `settings`; `scores` are the documents' retrieval scores (none: all equal).

    One adapter alone is left as it is: there is nothing to reconcile. Raises ModelError where an adapter does not fit the
    layout or is not finite, ConfigError for an unknown rule.
    """
    weights = _weights(len(adapters), settings, scores)
    return _merge(adapters, weights, layout, settings)


def merged_name(versions: Sequence[str], settings: MergeConfig, scores: Sequence[float] | None = None) -> str:
    """The name that `merge_adapters` will give, from the adapters' versions alone: known before any is read."""
    return _name(list(zip(versions, _weights(len(versions), settings, scores), strict=True)), settings)


def _weights(count: int, settings: MergeConfig, scores: Sequence[float] | None) -> list[float]:
    rule = find_rule(settings.rule)
    if not count:
        raise ValueError("nothing to merge: at least one adapter is needed")
    return rule.weigh([0.0] * count if scores is None else scores, settings) if count > 1 else [1.0]


def _name(parts: Sequence[tuple[str, float]], settings: MergeConfig) -> str:
    used = {name: getattr(settings, name) for name in RULES[settings.rule].settings}
    return digest([settings.rule, used, sorted(parts)])


def merge_cat(adapters: Sequence[Versioned], layout: AdapterLayout, weights: Sequence[float] | None = None) -> MergedAdapter:
    """The exact sum with weights of the caller's (none: all 1), of rank k·r. PEFT calls it `cat`."""
    if not adapters:
        raise ValueError("nothing to merge: at least one adapter is needed")
    return _merge(adapters, [1.0] * len(adapters) if weights is None else weights, layout, MergeConfig())


def _merge(
    adapters: Sequence[Versioned], weights: Sequence[float], layout: AdapterLayout, settings: MergeConfig
) -> MergedAdapter:
    parts = [Part(version, factors, float(weight)) for (version, factors), weight in zip(adapters, weights, strict=True)]
    parts.sort(key=lambda part: (part.version, part.weight))
    for part in parts:
        check_factors(part.factors, layout)
    combine = RULES[settings.rule].combine if len(parts) > 1 else _sum
    factors = combine(parts, layout, settings)
    name = _name([(part.version, part.weight) for part in parts], settings)
    return MergedAdapter(name, factors, len(next(iter(factors.values())).a))
