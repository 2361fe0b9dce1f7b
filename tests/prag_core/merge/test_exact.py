"""Weighted sums of deltas are exact. Oracle: PEFT's `cat` with the same weights, by delta and by logits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from prag_core.config import MergeConfig
from prag_core.lora import AdapterLayout
from prag_core.merge import Versioned, merge_adapters, merge_cat
from prag_core.merge.exact import score_weights

Adapters = Callable[..., list[Versioned]]
Oracle = Callable[..., dict[str, np.ndarray]]


@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0], [0.5, 1.0, 2.0], [-1.0, 0.0, 3.0]])
def test_the_sum_adds_what_peft_cat_adds(
    weights: list[float], layout: AdapterLayout, random_adapters: Adapters, peft_deltas: Oracle, assert_adds: Callable[..., None]
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
    assert_adds(merge_adapters(adapters, layout, settings, [6.0, 12.0, 3.0]), peft_deltas(adapters, weights, "cat"))


def test_weights_are_ratios_to_the_best_score_and_never_negative() -> None:
    settings = MergeConfig()
    assert score_weights([2.0, 8.0, -1.0, 0.0], settings) == [0.25, 1.0, 0.0, 0.0]
    assert score_weights([20.0, 80.0, -10.0, 0.0], settings) == [0.25, 1.0, 0.0, 0.0]
    assert score_weights([5.0, 5.0], settings) == [1.0, 1.0]
    for without_a_positive_one in ([0.0, 0.0], [-3.0, -1.0]):
        assert score_weights(without_a_positive_one, settings) == [1.0, 1.0]
