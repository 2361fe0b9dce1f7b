"""Rules that drop entries. Oracle: PEFT's `ties`, and for `dare` PEFT's pruning with the same entries kept, then `cat`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from peft.utils import merge_utils

from prag_core.config.schema import MergeConfig
from prag_core.merging import Versioned, merge_adapters
from prag_core.merging.merged_adapter import Part
from prag_core.merging.sparse import drop_and_rescale, keep_largest, moved_from, ties
from prag_core.models.lora import AdapterLayout, ModuleShape
from prag_core.records import Factors

Warm = Callable[[int], tuple[list[Versioned], Versioned]]
Adapters = Callable[..., list[Versioned]]
Oracle = Callable[..., dict[str, np.ndarray]]


@pytest.mark.parametrize("density", [0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0], [0.5, 2.0, 1.0], [1.0, -1.5, 1.0]])
@pytest.mark.filterwarnings("ignore:The density")
def test_ties_adds_what_peft_ties_adds(
    weights: list[float],
    density: float,
    layout: AdapterLayout,
    random_adapters: Adapters,
    peft_deltas: Oracle,
) -> None:
    adapters = random_adapters(3)
    parts = [
        Part(version, factors, weight) for (version, factors), weight in zip(adapters, weights, strict=True)
    ]
    found = ties(parts, layout, MergeConfig(density=density))
    expected = peft_deltas(adapters, weights, "ties", density=density)
    for m in layout.modules:
        np.testing.assert_allclose(found[m.name].b @ found[m.name].a, expected[m.name], rtol=1e-6, atol=1e-6)
        assert np.abs(expected[m.name]).max() > 1e-3


def test_the_rule_is_ties_with_weights_of_one(
    layout: AdapterLayout, random_adapters: Adapters, peft_deltas: Oracle, assert_adds: Callable[..., None]
) -> None:
    adapters = random_adapters(4)
    merged = merge_adapters(adapters, layout, MergeConfig(rule="ties", density=0.7), [9.0, 1.0, 1.0, 1.0])
    assert merged.rank == layout.rank
    assert_adds(merged, peft_deltas(adapters, [1.0] * 4, "ties", density=0.7), 1e-6)


def test_the_largest_entries_stay_and_nothing_else() -> None:
    tensor = np.array([[3.0, -5.0, 0.5], [-1.0, 4.0, 2.0]])
    assert keep_largest(tensor, 0.5).tolist() == [[3.0, -5.0, 0.0], [0.0, 4.0, 0.0]]
    assert keep_largest(tensor, 1.0).tolist() == tensor.tolist()
    assert not keep_largest(tensor, 0.1).any()
    assert tensor[1, 2] == 2.0


@pytest.mark.parametrize("density", [0.3, 0.8])
def test_dare_adds_what_peft_pruning_and_cat_add_when_the_same_entries_are_kept(
    density: float,
    layout: AdapterLayout,
    random_adapters: Adapters,
    peft_deltas: Oracle,
    assert_adds: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    adapters, settings = random_adapters(3), MergeConfig(rule="dare", density=density, seed=3)
    thinned = drop_and_rescale(
        [Part(version, factors, 1.0) for version, factors in adapters], layout, settings
    )
    kept = iter(
        [
            torch.as_tensor(tensor != 0)
            for part in thinned
            for pair in part.factors.values()
            for tensor in pair
        ]
    )
    monkeypatch.setattr(torch, "bernoulli", lambda probabilities: next(kept).to(probabilities))

    def prune(tensor: np.ndarray) -> np.ndarray:
        return merge_utils.prune(torch.as_tensor(tensor), density, method="random", rescale=True).numpy()

    pruned = [
        (version, {name: Factors(*map(prune, pair)) for name, pair in factors.items()})
        for version, factors in adapters
    ]
    assert_adds(merge_adapters(adapters, layout, settings), peft_deltas(pruned, [1.0] * 3, "cat"))


@pytest.fixture
def wide() -> Iterator[tuple[AdapterLayout, list[Versioned]]]:
    layout = AdapterLayout((ModuleShape("m", 20_000, 30_000),), rank=2, alpha=2.0)
    yield layout, [(f"v{i}", {"m": Factors(np.ones((2, 20_000)), np.ones((30_000, 2)))}) for i in range(3)]


def test_dare_keeps_the_share_asked_for_and_the_expected_value(
    wide: tuple[AdapterLayout, list[Versioned]],
) -> None:
    layout, adapters = wide
    a, b = merge_adapters(adapters, layout, MergeConfig(rule="dare", density=0.25)).factors["m"]
    for tensor in (a, b):
        assert set(np.unique(tensor)) == {0.0, 4.0}
        assert np.mean(tensor != 0) == pytest.approx(0.25, abs=0.01)
        assert tensor.mean() == pytest.approx(1.0, abs=0.03)
    assert not np.array_equal(a[:2], a[2:4])  # each document loses entries of its own


def test_what_dare_drops_depends_on_seed_and_document_not_on_its_company(
    wide: tuple[AdapterLayout, list[Versioned]],
) -> None:
    layout, (first, second, third) = wide
    settings = MergeConfig(rule="dare", density=0.5)
    one = merge_adapters([first, second], layout, settings).factors["m"].a
    other = merge_adapters([third, first], layout, settings).factors["m"].a
    np.testing.assert_array_equal(one[:2], other[:2])
    again = (
        merge_adapters([first, second], layout, MergeConfig(rule="dare", density=0.5, seed=1)).factors["m"].a
    )
    assert np.mean(one[:2] != again[:2]) == pytest.approx(0.5, abs=0.02)


def test_with_a_start_ties_adds_to_it_what_peft_ties_makes_of_the_moves(
    layout: AdapterLayout, warm_adapters: Warm
) -> None:
    adapters, (_, start) = warm_adapters(3)
    merged = merge_adapters(adapters, layout, MergeConfig(rule="ties", density=0.6), None, ("start", start))
    root = layout.scaling**0.5
    assert merged.rank == layout.rank
    for m in layout.modules:
        for found, origin, moved in zip(
            merged.factors[m.name],
            start[m.name],
            zip(*(f[m.name] for _, f in adapters), strict=True),
            strict=True,
        ):
            moves = [torch.as_tensor(factor - origin) for factor in moved]
            expected = root * origin + merge_utils.ties(moves, torch.full((3,), root), density=0.6).numpy()
            np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
            assert np.abs(found - root * origin).max() > 1e-2


def test_with_a_start_dare_drops_moves_and_never_the_start(
    layout: AdapterLayout, warm_adapters: Warm
) -> None:
    adapters, (_, start) = warm_adapters(2)
    parts = [Part(version, factors, 1.0) for version, factors in adapters]
    for part in drop_and_rescale(parts, layout, MergeConfig(density=0.25), start):
        moves = moved_from(start, dict(adapters)[part.version])
        for m in layout.modules:
            for found, origin, move in zip(part.factors[m.name], start[m.name], moves[m.name], strict=True):
                dropped, kept = np.isclose(found, origin), np.isclose(found, origin + 4 * move)
                assert (dropped | kept).all() and dropped.any() and kept.any()


def test_dare_that_drops_nothing_is_the_exact_sum_with_the_start_once(
    layout: AdapterLayout, warm_adapters: Warm, deltas: Callable[..., dict], assert_adds: Callable[..., None]
) -> None:
    adapters, start = warm_adapters(3)
    exact = merge_adapters(adapters, layout, MergeConfig(), None, start)
    assert_adds(
        merge_adapters(adapters, layout, MergeConfig(rule="dare", density=1.0), None, start),
        deltas(exact.factors),
    )
