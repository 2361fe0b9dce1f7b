"""Weighted sums of deltas are exact. Oracle: PEFT's `cat` with the same weights, by delta and by logits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from prag_core.config.schema import MergeConfig, WarmCount
from prag_core.merging import RULES, Versioned, merge_adapters, merge_cat
from prag_core.merging.exact import score_weights
from prag_core.models.lora import AdapterLayout, ModuleShape
from prag_core.records import Factors

Warm = Callable[[int], tuple[list[Versioned], Versioned]]
Adapters = Callable[..., list[Versioned]]
Oracle = Callable[..., dict[str, np.ndarray]]


@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0], [0.5, 1.0, 2.0], [-1.0, 0.0, 3.0]])
def test_the_sum_adds_what_peft_cat_adds(
    weights: list[float],
    layout: AdapterLayout,
    random_adapters: Adapters,
    peft_deltas: Oracle,
    assert_adds: Callable[..., None],
) -> None:
    adapters = random_adapters(3)
    merged = merge_cat(adapters, layout, weights)
    assert merged.rank == 6
    assert_adds(merged, peft_deltas(adapters, weights, "cat"))


@pytest.mark.parametrize(
    ("settings", "weights"),
    [
        (MergeConfig(rule="sum"), [1.0, 1.0, 1.0]),
        (MergeConfig(rule="mean"), [1 / 3, 1 / 3, 1 / 3]),
        (MergeConfig(rule="score_weighted"), [0.5, 1.0, 0.25]),
        (MergeConfig(rule="score_weighted", sharpness=2.0), [0.25, 1.0, 0.0625]),
        (MergeConfig(rule="score_weighted", sharpness=0.0), [1.0, 1.0, 1.0]),
    ],
)
def test_a_rule_adds_what_peft_cat_adds_with_its_weights(
    settings: MergeConfig,
    weights: list[float],
    layout: AdapterLayout,
    random_adapters: Adapters,
    peft_deltas: Oracle,
    assert_adds: Callable[..., None],
) -> None:
    adapters = random_adapters(3)
    assert_adds(
        merge_adapters(adapters, layout, settings, [6.0, 12.0, 3.0]), peft_deltas(adapters, weights, "cat")
    )


def test_weights_are_ratios_to_the_best_score_and_never_negative() -> None:
    settings = MergeConfig()
    assert score_weights([2.0, 8.0, -1.0, 0.0], settings) == [0.25, 1.0, 0.0, 0.0]
    assert score_weights([20.0, 80.0, -10.0, 0.0], settings) == [0.25, 1.0, 0.0, 0.0]
    assert score_weights([5.0, 5.0], settings) == [1.0, 1.0]
    for without_a_positive_one in ([0.0, 0.0], [-3.0, -1.0]):
        assert score_weights(without_a_positive_one, settings) == [1.0, 1.0]


@pytest.mark.parametrize("rule", ["sum", "mean", "score_weighted"])
def test_what_documents_started_from_counts_once(
    rule: str,
    layout: AdapterLayout,
    warm_adapters: Warm,
    peft_deltas: Oracle,
    assert_adds: Callable[..., None],
) -> None:
    """The start, and of each document what it adds to that: each delta PEFT's own of that adapter alone."""
    adapters, start = warm_adapters(3)
    weights = {"sum": [1.0] * 3, "mean": [1 / 3] * 3, "score_weighted": [0.5, 1.0, 0.25]}[rule]
    merged = merge_adapters(adapters, layout, MergeConfig(rule=rule), [6.0, 12.0, 3.0], start)
    origin, *alone = (peft_deltas([adapter], [1.0], "cat") for adapter in (start, *adapters))
    expected = {
        name: origin[name]
        + sum(weight * (one[name] - origin[name]) for weight, one in zip(weights, alone, strict=True))
        for name in origin
    }
    assert_adds(merged, expected)
    assert merged.rank == (6 if rule == "mean" else 8)  # the weights of a mean count it once as they are


@pytest.mark.parametrize("count", range(2, 51))
def test_the_start_takes_no_rank_in_a_mean_of_any_number(count: int) -> None:
    start = ("start", {"m": Factors(np.ones((1, 2)), np.ones((2, 1)))})
    adapters = [(f"v{i}", start[1]) for i in range(count)]
    layout = AdapterLayout((ModuleShape("m", 2, 2),), rank=1, alpha=1.0)
    assert merge_adapters(adapters, layout, MergeConfig(rule="mean"), None, start).rank == count


def test_counted_with_every_document_the_start_changes_nothing(
    layout: AdapterLayout, warm_adapters: Warm, peft_deltas: Oracle, assert_adds: Callable[..., None]
) -> None:
    adapters, start = warm_adapters(3)
    merged = merge_adapters(adapters, layout, MergeConfig(warm=WarmCount.every), None, start)
    assert merged.rank == 6
    assert_adds(merged, peft_deltas(adapters, [1.0] * 3, "cat"))


def test_documents_that_never_moved_add_what_they_started_from(
    layout: AdapterLayout, warm_adapters: Warm, deltas: Callable[..., dict], assert_adds: Callable[..., None]
) -> None:
    _, (version, factors) = warm_adapters(1)
    unmoved = [(f"document-{i}", factors) for i in range(3)]
    for rule in RULES:
        merged = merge_adapters(unmoved, layout, MergeConfig(rule=rule), [3.0, 2.0, 1.0], (version, factors))
        assert_adds(merged, deltas(factors, layout.scaling))
