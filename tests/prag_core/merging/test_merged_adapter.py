"""The exact sum, and the start that counts once in it."""

from collections.abc import Callable

import numpy as np
import pytest

from prag_core.merging import Versioned
from prag_core.merging.merged_adapter import Part, concatenate, with_start
from prag_core.models.lora import AdapterLayout


def test_factors_side_by_side_add_up_to_the_weighted_deltas(
    layout: AdapterLayout, random_adapters: Callable[..., list[Versioned]]
) -> None:
    parts = [
        Part(*adapter, weight) for adapter, weight in zip(random_adapters(3), (1.0, 0.5, -2.0), strict=True)
    ]
    merged = concatenate(parts, layout)
    for m in layout.modules:
        expected = sum(p.weight * layout.scaling * p.factors[m.name].b @ p.factors[m.name].a for p in parts)
        np.testing.assert_allclose(merged[m.name].b @ merged[m.name].a, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("weight", "count"), [(-1.0, 2), (0.5, 2), (0.0, 1), (1e-12, 1)])
def test_a_start_takes_rank_only_where_it_weighs_something(
    random_adapters: Callable[..., list[Versioned]], weight: float, count: int
) -> None:
    first, start = random_adapters(2)
    assert len(with_start([Part(*first, 1.0)], Part(*start, weight))) == count
    assert with_start([Part(*first, 1.0)], None) == [Part(*first, 1.0)]
