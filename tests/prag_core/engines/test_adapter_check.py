"""When an adapter counts as acting, by the answers with it and without."""

from __future__ import annotations

import numpy as np
import pytest

from prag_core.engines.adapter_check import PROMPTS, differ, inert, random_adapter
from prag_core.engines.base import Generation
from prag_core.models.lora import AdapterLayout, ModuleShape

LAYOUT = AdapterLayout((ModuleShape("up", 300, 200), ModuleShape("down", 200, 300)), rank=2, alpha=4)


def answers(*probabilities: float, token: int = 1) -> list[Generation]:
    return [Generation("x", (token,), "length", (p,)) for p in probabilities]


BARE = answers(0.5, 0.9, 0.1, 0.2)


@pytest.mark.parametrize(
    ("adapted", "acts"),
    [
        (BARE, False),
        (answers(0.501, 0.901, 0.1, 0.2), False),
        ([*BARE[:3], *answers(0.2, token=2)], False),
        (answers(0.5, 0.9, 0.2, 0.3), True),
        (answers(0.5, 0.9, 0.1, 0.2, token=2), True),
    ],
)
def test_rounding_is_no_difference_and_more_than_one_other_answer_is(
    adapted: list[Generation], acts: bool
) -> None:
    assert len(BARE) == len(PROMPTS) and differ(BARE, adapted) is acts


def test_the_random_adapter_moves_outputs_by_the_size_of_inputs() -> None:
    for name, (a, b) in random_adapter(LAYOUT).factors.items():
        x = np.random.default_rng(1).standard_normal((100, a.shape[1]))
        moved = np.abs(x @ a.T @ b.T).mean()
        assert 0.2 < moved < 2, name


def test_the_error_names_the_modules_of_both_sides_and_how_many_there_are() -> None:
    message = str(inert(LAYOUT, ["a", "b", "c", "d"]))
    assert "up, down (2)" in message and "a, b, c, … (4)" in message
