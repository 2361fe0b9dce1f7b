"""The interference figure is the cosine between dense deltas, without making them."""

from collections.abc import Callable

import numpy as np
import pytest

from prag_core.merging import Versioned, interference
from prag_core.models.lora import AdapterLayout
from prag_core.records import Factors

Adapters = Callable[..., list[Versioned]]


def test_cosines_are_those_of_all_modules_dense_deltas(
    layout: AdapterLayout, random_adapters: Adapters, deltas: Callable[..., dict]
) -> None:
    adapters = [factors for _, factors in random_adapters(4)]
    adapters[3] = {  # close to the first, so that one pair stands out
        name: Factors(a + 0.1 * other.a, b)
        for (name, (a, b)), other in zip(adapters[0].items(), adapters[1].values(), strict=True)
    }
    dense = [np.concatenate([delta.ravel() for delta in deltas(factors).values()]) for factors in adapters]
    expected = np.array([[x @ y / np.linalg.norm(x) / np.linalg.norm(y) for y in dense] for x in dense])
    found = interference(adapters, layout)
    np.testing.assert_allclose(found.cosine_kk, expected, atol=1e-12)
    pairs = [expected[i, j] for i in range(4) for j in range(i + 1, 4)]
    assert found.mean == pytest.approx(np.mean(pairs)) and found.largest == pytest.approx(max(pairs))
    assert found.largest == pytest.approx(expected[0, 3]) and found.largest > 0.9


def test_the_same_document_twice_is_one_its_opposite_minus_one(
    layout: AdapterLayout, random_adapters: Adapters
) -> None:
    ((_, factors),) = random_adapters(1)
    opposite = {name: Factors(-a, b) for name, (a, b) in factors.items()}
    assert interference([factors, factors], layout).mean == pytest.approx(1.0)
    assert interference([factors, opposite], layout).largest == pytest.approx(-1.0)


def test_one_document_and_a_delta_of_zero_interfere_with_nothing(
    layout: AdapterLayout, random_adapters: Adapters
) -> None:
    (_, factors), (_, other) = random_adapters(2)
    untrained = {name: Factors(a, np.zeros_like(b)) for name, (a, b) in other.items()}
    for adapters in ([factors], [factors, untrained]):
        found = interference(adapters, layout)
        assert (found.mean, found.largest) == (0.0, 0.0) and np.isfinite(found.cosine_kk).all()


def test_a_shared_start_is_left_out(
    layout: AdapterLayout,
    warm_adapters: Callable[[int], tuple[list[Versioned], Versioned]],
    deltas: Callable[..., dict],
) -> None:
    adapters, (_, start) = warm_adapters(3)
    documents = [factors for _, factors in adapters]
    origin, *dense = [
        np.concatenate([d.ravel() for d in deltas(factors).values()]) for factors in (start, *documents)
    ]
    moved = [delta - origin for delta in dense]
    expected = np.array([[x @ y / np.linalg.norm(x) / np.linalg.norm(y) for y in moved] for x in moved])
    found = interference(documents, layout, start)
    np.testing.assert_allclose(found.cosine_kk, expected, atol=1e-9)
    assert interference(documents, layout).mean > found.mean + 0.5, (
        "with the start in it, all documents look alike"
    )
    unmoved = interference([start, documents[0]], layout, start)
    assert (unmoved.mean, unmoved.largest) == (0.0, 0.0)
