"""Random adapters over a tiny model's layout, and PEFT's merge of the same adapters: the oracle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model

from prag_core.merging import MergedAdapter, Versioned
from prag_core.models.lora import AdapterLayout, layout_of
from prag_core.records import AdapterFactors, Factors

TARGETS = ["gate_proj", "up_proj", "down_proj"]
Deltas = dict[str, np.ndarray]  # module → what is added to its weight


@pytest.fixture
def model(tiny_model: Callable[..., Any]) -> Any:
    return tiny_model("llama", torch.float64)


@pytest.fixture
def layout(model: Any) -> AdapterLayout:
    return layout_of(model, rank=2, alpha=32.0, targets=TARGETS)


@pytest.fixture
def random_adapters(layout: AdapterLayout) -> Callable[..., list[Versioned]]:
    """`random_adapters(count, dtype)`: named version-0, version-1, …; always the same."""

    def make(count: int, dtype: type = np.float64) -> list[Versioned]:
        generator = np.random.default_rng(7)

        def draw(shape: tuple[int, int], scale: float) -> np.ndarray:
            return (scale * generator.normal(size=shape)).astype(dtype)

        return [
            (f"version-{i}", {name: Factors(draw(a, 1.0), draw(b, 0.1)) for name, a, b in layout.shapes()})
            for i in range(count)
        ]

    return make


@pytest.fixture
def warm_adapters(
    random_adapters: Callable[..., list[Versioned]],
) -> Callable[..., tuple[list[Versioned], Versioned]]:
    """`warm_adapters(count)`: documents that have moved a little from the adapter they all started from, and that adapter."""

    def make(count: int) -> tuple[list[Versioned], Versioned]:
        (_, start), *moves = random_adapters(count + 1)

        def moved(by: AdapterFactors) -> AdapterFactors:
            return {
                name: Factors(a + 0.2 * by[name].a, b + 0.2 * by[name].b) for name, (a, b) in start.items()
            }

        return [(version, moved(by)) for version, by in moves], ("the-start", start)

    return make


@pytest.fixture
def peft_deltas(model: Any, layout: AdapterLayout) -> Callable[..., Deltas]:
    """`peft_deltas(adapters, weights, combination_type, …)`: what PEFT's merge of them adds, in float64."""

    def merged(
        adapters: Sequence[Versioned], weights: Sequence[float], combination_type: str, **options: Any
    ) -> Deltas:
        wrapped = _as_peft(model, layout, adapters)
        with torch.no_grad():
            names = [version for version, _ in adapters]
            wrapped.add_weighted_adapter(
                names, list(weights), "merged", combination_type=combination_type, **options
            )
            modules = {m.name: wrapped.base_model.model.get_submodule(m.name) for m in layout.modules}
            found = {
                name: module.get_delta_weight("merged").numpy().copy() for name, module in modules.items()
            }
        wrapped.unload()
        return found

    return merged


def _as_peft(model: Any, layout: AdapterLayout, adapters: Sequence[Versioned]) -> Any:
    config = LoraConfig(r=layout.rank, lora_alpha=int(layout.alpha), target_modules=TARGETS)
    wrapped: Any = get_peft_model(model, config, adapter_name=adapters[0][0])
    for version, _ in adapters[1:]:
        wrapped.add_adapter(version, config)
    wrapped.to(torch.float64)
    with torch.no_grad():
        for version, factors in adapters:
            for name, (a, b) in factors.items():
                module = wrapped.base_model.model.get_submodule(name)
                module.lora_A[version].weight.copy_(torch.as_tensor(a))
                module.lora_B[version].weight.copy_(torch.as_tensor(b))
    return wrapped


@pytest.fixture
def deltas() -> Callable[..., Deltas]:
    """`deltas(factors, scaling)`: what these factors add, as dense matrices."""

    def dense(factors: AdapterFactors, scaling: float = 1.0) -> Deltas:
        return {name: scaling * b @ a for name, (a, b) in factors.items()}

    return dense


@pytest.fixture
def assert_adds(deltas: Callable[..., Deltas]) -> Callable[..., None]:
    """`assert_adds(merged, expected)`: a merged adapter adds just these deltas, and they are something."""

    def check(merged: MergedAdapter, expected: Deltas, tolerance: float = 1e-9) -> None:
        found = deltas(merged.factors, 1.0)
        assert list(found) == list(expected)
        for name, delta in found.items():
            np.testing.assert_allclose(delta, expected[name], rtol=tolerance, atol=tolerance)
            assert np.abs(delta).max() > 1e-3

    return check
