"""Every rule gives one adapter that is named after all that went into it, whatever order that came in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from prag_core.config.schema import MergeConfig, WarmCount
from prag_core.errors import ConfigError, ModelError
from prag_core.merging import RULES, Versioned, find_rule, merge_adapters, merge_cat, merged_name, merged_rank
from prag_core.models.lora import AdapterLayout, check_factors
from prag_core.records import Factors

Warm = Callable[[int], tuple[list[Versioned], Versioned]]
Adapters = Callable[..., list[Versioned]]
SCORES = [9.0, 6.0, 3.0]
OTHER: dict[str, Any] = {
    "density": 0.5,
    "sharpness": 2.0,
    "rank": 1,
    "seed": 7,
}  # another value of every setting but the rule


@pytest.mark.parametrize("rule", RULES)
def test_equal_sets_in_any_order_are_one_adapter_bit_for_bit(
    rule: str, layout: AdapterLayout, random_adapters: Adapters
) -> None:
    adapters, settings = random_adapters(3, np.float32), MergeConfig(rule=rule)
    one = merge_adapters(adapters, layout, settings, SCORES)
    other = merge_adapters(adapters[::-1], layout, settings, SCORES[::-1])
    assert one.name == other.name
    for name in one.factors:
        assert one.factors[name].a.tobytes() == other.factors[name].a.tobytes()
        assert one.factors[name].b.tobytes() == other.factors[name].b.tobytes()
        assert one.factors[name].a.dtype == one.factors[name].b.dtype == np.float32


@pytest.mark.parametrize("rule", RULES)
def test_a_result_fits_the_layout_at_the_rank_that_was_promised(
    rule: str, layout: AdapterLayout, random_adapters: Adapters
) -> None:
    for count in (1, 2, 5):
        settings = MergeConfig(rule=rule, rank=3)
        merged = merge_adapters(random_adapters(count), layout, settings, list(range(count)))
        check_factors(merged.factors, replace(layout, rank=merged.rank))
        assert merged.rank <= merged_rank(layout.rank, count, settings) <= count * layout.rank


@pytest.mark.parametrize("rule", RULES)
def test_one_adapter_alone_is_left_as_it_is(
    rule: str,
    layout: AdapterLayout,
    random_adapters: Adapters,
    deltas: Callable[..., dict],
    assert_adds: Callable[..., None],
) -> None:
    (adapter,) = random_adapters(1)
    settings = MergeConfig(rule=rule, density=0.1, rank=1)
    merged = merge_adapters([adapter], layout, settings, [0.3])
    assert_adds(merged, deltas(adapter[1], layout.scaling))
    assert merged.rank == layout.rank <= merged_rank(layout.rank, 1, settings)


def test_names_tell_apart_rules_settings_sets_scores_and_weights(
    layout: AdapterLayout, random_adapters: Adapters
) -> None:
    adapters = random_adapters(3)
    merged = [merge_adapters(adapters, layout, MergeConfig(rule=rule), SCORES) for rule in RULES]
    merged += [
        merge_adapters(adapters, layout, replace(MergeConfig(rule=rule.name), **{name: OTHER[name]}), SCORES)
        for rule in RULES.values()
        for name in rule.settings
    ]
    merged += [
        merge_cat(adapters[:2], layout),
        merge_cat([adapters[0], adapters[0]], layout),
        merge_cat(adapters, layout, [1, 1, 2]),
        merge_cat(adapters, layout, [2, 1, 1]),
        merge_adapters(adapters, layout, MergeConfig(rule="score_weighted"), SCORES[::-1]),
    ]
    assert len({adapter.name for adapter in merged}) == len(merged)


@pytest.mark.parametrize("rule", RULES)
def test_settings_that_a_rule_does_not_read_are_not_in_the_name(
    rule: str, layout: AdapterLayout, random_adapters: Adapters
) -> None:
    adapters, plain = random_adapters(3), MergeConfig(rule=rule)
    unread = {name: value for name, value in OTHER.items() if name not in RULES[rule].settings}
    one = merge_adapters(adapters, layout, plain, SCORES)
    other = merge_adapters(adapters, layout, replace(plain, **unread), SCORES)
    assert one.name == other.name
    assert all(one.factors[m.name].a.tobytes() == other.factors[m.name].a.tobytes() for m in layout.modules)


@pytest.mark.parametrize("rule", RULES)
def test_a_start_is_in_the_name_and_the_promised_rank_holds_it(
    rule: str, layout: AdapterLayout, warm_adapters: Warm
) -> None:
    adapters, start = warm_adapters(5)
    once = MergeConfig(rule=rule, rank=3)
    every = replace(once, warm=WarmCount.every)
    for count in (1, 2, 5):
        some, scores = adapters[:count], [float(i + 1) for i in range(count)]
        merged = merge_adapters(some, layout, once, scores, start)
        without = merge_adapters(some, layout, once, scores)
        assert merged.rank <= merged_rank(layout.rank, count, once, warm=True)
        assert merged.name == merged_name([version for version, _ in some], once, scores, start[0])
        assert (merged.name == without.name) == (count == 1)  # one document holds its start once
        published = merge_adapters(some, layout, every, scores, start)
        assert published.name == without.name and published.rank == without.rank
        assert merged_rank(layout.rank, count, every, warm=True) == merged_rank(layout.rank, count, once)


@pytest.mark.parametrize("rule", RULES)
def test_the_name_is_known_before_any_adapter_is_read(
    rule: str, layout: AdapterLayout, random_adapters: Adapters
) -> None:
    adapters, settings = random_adapters(3), MergeConfig(rule=rule)
    merged = merge_adapters(adapters, layout, settings, SCORES)
    assert merged.name == merged_name([version for version, _ in adapters], settings, SCORES)


def test_the_callers_weights_follow_their_adapters_through_sorting(
    layout: AdapterLayout,
    random_adapters: Adapters,
    deltas: Callable[..., dict],
    assert_adds: Callable[..., None],
) -> None:
    adapters = random_adapters(2)
    merged = merge_cat(adapters[::-1], layout, [0.25, 4.0])
    first, second = (deltas(factors, layout.scaling) for _, factors in adapters)
    assert_adds(merged, {name: 4.0 * first[name] + 0.25 * second[name] for name in first})
    assert merged.name == merge_cat(adapters, layout, [4, 0.25]).name


def test_what_does_not_fit_the_layout_is_refused(layout: AdapterLayout, random_adapters: Adapters) -> None:
    (version, factors), good = random_adapters(2)
    first = layout.modules[0].name
    with pytest.raises(ModelError, match="not finite"):
        merge_cat(
            [good, (version, {**factors, first: Factors(factors[first].a * np.inf, factors[first].b)})],
            layout,
        )
    with pytest.raises(ModelError, match="expected"):
        merge_cat(
            [good, (version, {**factors, first: Factors(factors[first].a[:1], factors[first].b)})], layout
        )
    for merge in (lambda: merge_cat([], layout), lambda: merge_adapters([], layout, MergeConfig())):
        with pytest.raises(ValueError, match="at least one"):
            merge()


@pytest.mark.parametrize(
    ("given", "meant"),
    [("tie", "ties"), ("sums", "sum"), ("score-weighted", "score_weighted"), ("SVD", "svd")],
)
def test_an_unknown_rule_names_the_nearest_one(given: str, meant: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"no merge rule '{given}'; did you mean {meant}\? \(known: sum, mean"
    ):
        find_rule(given)
    with pytest.raises(ConfigError, match=r"no merge rule 'xyzzy' \(known"):
        find_rule("xyzzy")
