"""The classifier's numbers mean what they say, however they were stored."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from prag_core.answering.adaptive.linear import Linear

HAND = Linear(
    names=("which", ":names"),
    mean_f=np.array([0.0, 1.0]),
    scale_f=np.array([1.0, 2.0]),
    classes=(0, 2),
    weights_cf=np.array([[0.0, 0.0], [np.log(3), np.log(4)]]),
    bias_c=np.array([0.0, 0.0]),
    num_classes=3,
)


def test_probabilities_are_the_softmax_of_weighted_features() -> None:
    p_nc = HAND.probabilities([{"which": 1.0, ":names": 1.0}, {":names": 3.0, "unheard": 1.0}, {}])
    # Odds of class 2 against class 0: 3; 4 ** ((3 - 1) / 2) = 4; 4 ** ((0 - 1) / 2) = 1 / 2.
    assert np.allclose(p_nc, [[1 / 4, 0, 3 / 4], [1 / 5, 0, 4 / 5], [2 / 3, 0, 1 / 3]])


def test_far_odds_do_not_overflow() -> None:
    assert np.isfinite(HAND.probabilities([{":names": 1e6}])).all()


def test_it_comes_back_from_json_as_it_was() -> None:
    again = Linear.from_json(json.loads(json.dumps(HAND.to_json())), 3)
    assert np.array_equal(again.probabilities([{"which": 1.0}]), HAND.probabilities([{"which": 1.0}]))


@pytest.mark.parametrize(
    "damage",
    [
        {"mean": [0.0]},
        {"weights": [[1.0, 2.0]]},
        {"classes": [0, 3]},
        {"scale": [1.0, 0.0]},
        {"bias": [0.0, float("nan")]},
    ],
)
def test_numbers_that_do_not_fit_are_refused(damage: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Linear.from_json(HAND.to_json() | damage, 3)
