"""Cutting a rank keeps what matters most. Oracles: PEFT's `svd`, and the singular values of the dense delta."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from prag_core.config.schema import MergeConfig
from prag_core.merging import Versioned, merge_adapters, merge_cat, merged_rank
from prag_core.merging.low_rank import truncate
from prag_core.models.lora import AdapterLayout, ModuleShape
from prag_core.records import Factors

Adapters = Callable[..., list[Versioned]]


@pytest.mark.parametrize("rank", [1, 2, 4, 5])
def test_svd_adds_what_peft_svd_adds(
    rank: int,
    layout: AdapterLayout,
    random_adapters: Adapters,
    peft_deltas: Callable[..., dict],
    assert_adds: Callable[..., None],
) -> None:
    adapters = random_adapters(3)
    merged = merge_adapters(adapters, layout, MergeConfig(rule="svd", rank=rank))
    assert merged.rank == rank
    assert_adds(merged, peft_deltas(adapters, [1.0, 1.0, 1.0], "svd", svd_rank=rank))


def test_without_a_rank_it_is_one_documents(layout: AdapterLayout, random_adapters: Adapters) -> None:
    assert merge_adapters(random_adapters(3), layout, MergeConfig(rule="svd")).rank == layout.rank


def test_a_rank_that_holds_the_sum_gives_the_sum(
    layout: AdapterLayout,
    random_adapters: Adapters,
    deltas: Callable[..., dict],
    assert_adds: Callable[..., None],
) -> None:
    adapters = random_adapters(3)
    exact = deltas(merge_cat(adapters, layout).factors)
    for rank in (6, 7, 100):
        merged = merge_adapters(adapters, layout, MergeConfig(rule="svd", rank=rank))
        assert merged.rank == 6 == merged_rank(layout.rank, 3, MergeConfig(rule="svd", rank=rank))
        assert_adds(merged, exact)


def test_with_a_start_it_cuts_the_sum_that_counts_it_once(
    layout: AdapterLayout,
    warm_adapters: Callable[[int], tuple[list[Versioned], Versioned]],
    deltas: Callable[..., dict],
    assert_adds: Callable[..., None],
) -> None:
    adapters, start = warm_adapters(3)
    exact = merge_adapters(adapters, layout, MergeConfig(), None, start)
    settings = MergeConfig(rule="svd", rank=100)
    assert_adds(merge_adapters(adapters, layout, settings, None, start), deltas(exact.factors))
    assert merge_adapters(adapters, layout, MergeConfig(rule="svd", rank=3), None, start).rank == 3
    assert exact.rank == 8 == merged_rank(layout.rank, 3, settings, warm=True)


@pytest.mark.parametrize(("outputs", "inputs"), [(40, 30), (4, 30), (40, 3), (2, 3)])
def test_what_is_lost_is_the_smallest_singular_values(outputs: int, inputs: int) -> None:
    random = np.random.default_rng(0)
    pair = Factors(random.normal(size=(6, inputs)), random.normal(size=(outputs, 6)))
    dense = pair.b @ pair.a
    singular = np.linalg.svd(dense, compute_uv=False)
    for rank in (1, 3, 5):
        a, b = truncate({"m": pair}, rank)["m"]
        assert a.shape == (rank, inputs) and b.shape == (outputs, rank)
        assert np.linalg.norm(dense - b @ a) == pytest.approx(np.linalg.norm(singular[rank:]), abs=1e-9)


def test_no_matrix_of_a_deltas_size_is_made() -> None:
    """In a layer whose delta would take 80 GB."""
    layout = AdapterLayout((ModuleShape("m", 100_000, 100_000),), rank=2, alpha=2.0)
    random = np.random.default_rng(0)
    adapters: Sequence[Versioned] = [
        (f"v{i}", {"m": Factors(random.normal(size=(2, 100_000)), random.normal(size=(100_000, 2)))})
        for i in range(3)
    ]
    assert merge_adapters(adapters, layout, MergeConfig(rule="svd", rank=4)).rank == 4
