"""A merged adapter at another rank adds what it added before."""

from collections.abc import Callable

import numpy as np
import pytest

from prag_core.errors import ConfigError
from prag_core.merging import Versioned, merge_cat, pad_rank
from prag_core.models.lora import AdapterLayout


def test_padding_the_rank_changes_nothing_that_is_added(
    layout: AdapterLayout, random_adapters: Callable[..., list[Versioned]]
) -> None:
    merged = merge_cat(random_adapters(3), layout)
    padded = pad_rank(merged, (1, 8, 16, 32))
    assert (padded.rank, padded.scaling, padded.name) == (8, 1.0, merged.name)
    for m in layout.modules:
        a, b = padded.factors[m.name]
        assert a.shape == (8, m.in_features)
        assert b.shape == (m.out_features, 8)
        np.testing.assert_array_equal(a[:6], merged.factors[m.name].a)
        np.testing.assert_array_equal(b[:, :6], merged.factors[m.name].b)
        assert not a[6:].any() and not b[:, 6:].any()
    assert pad_rank(padded, (8,)).rank == 8
    with pytest.raises(ConfigError, match=r"rank 6 .* largest, 4; lower retrieval\.top_k"):
        pad_rank(merged, (1, 4))
