"""A merged adapter adds exactly the sum of its parts. Oracle: PEFT's `add_weighted_adapter(combination_type="cat")`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model

from prag_core.errors import ConfigError, ModelError
from prag_core.lora import AdapterLayout, layout_of
from prag_core.merge import MERGES, MergedAdapter, Versioned, merge_cat, pad_rank
from prag_core.records import AdapterFactors, Factors

TARGETS = ["gate_proj", "up_proj", "down_proj"]
TOKENS = torch.tensor([[3, 14, 15, 9, 26, 5, 35]])


def random_adapters(layout: AdapterLayout, count: int, dtype: type = np.float32) -> list[Versioned]:
    generator = np.random.default_rng(7)

    def factors() -> AdapterFactors:
        return {
            name: Factors(generator.normal(size=a).astype(dtype), 0.1 * generator.normal(size=b).astype(dtype))
            for name, a, b in layout.shapes()
        }

    return [(f"version-{i}", factors()) for i in range(count)]


def peft_logits(model: Any, layout: AdapterLayout, adapters: list[Versioned], weights: list[float]) -> torch.Tensor:
    config = LoraConfig(r=layout.rank, lora_alpha=int(layout.alpha), target_modules=TARGETS)
    wrapped: Any = get_peft_model(model, config, adapter_name=adapters[0][0])
    for version, _ in adapters[1:]:
        wrapped.add_adapter(version, config)
    wrapped.to(next(model.parameters()).dtype)
    with torch.no_grad():
        for version, factors in adapters:
            for name, (a, b) in factors.items():
                module = wrapped.base_model.model.get_submodule(name)
                module.lora_A[version].weight.copy_(torch.as_tensor(a))
                module.lora_B[version].weight.copy_(torch.as_tensor(b))
        wrapped.add_weighted_adapter([v for v, _ in adapters], weights, "merged", combination_type="cat")
        wrapped.set_adapter("merged")
        logits = wrapped(input_ids=TOKENS).logits
    wrapped.unload()
    return logits


def merged_logits(model: Any, merged: MergedAdapter) -> torch.Tensor:
    """With b @ a added to the dense weights, and taken away again."""
    weights = {name: model.get_submodule(name).weight for name in merged.factors}
    before = {name: weight.detach().clone() for name, weight in weights.items()}
    with torch.no_grad():
        for name, (a, b) in merged.factors.items():
            weights[name] += merged.scaling * torch.as_tensor(b) @ torch.as_tensor(a)
        logits = model(input_ids=TOKENS).logits
        for name, weight in weights.items():
            weight.copy_(before[name])
    return logits


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 2e-4)])
@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0], [0.5, 1.0, 2.0]])
@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_the_sum_gives_the_logits_of_peft_cat(
    tiny_model: Callable[..., Any], family: str, weights: list[float], dtype: torch.dtype, tolerance: float
) -> None:
    model = tiny_model(family, dtype)
    layout = layout_of(model, rank=2, alpha=32.0, targets=TARGETS)
    adapters = random_adapters(layout, 3, np.float64 if dtype == torch.float64 else np.float32)
    merged = merge_cat(adapters, layout, weights)
    assert merged.rank == 6
    ours, theirs = merged_logits(model, merged), peft_logits(model, layout, adapters, weights)
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
    assert (ours - model(input_ids=TOKENS).logits).abs().max() > 0.1  # the adapters do change the logits


def test_equal_sets_in_any_order_are_one_adapter_bit_for_bit(tiny_model: Callable[..., Any]) -> None:
    layout = layout_of(tiny_model("llama"), rank=2, alpha=32.0, targets=TARGETS)
    adapters = random_adapters(layout, 3)
    one, other = merge_cat(adapters, layout), merge_cat(adapters[::-1], layout)
    assert one.name == other.name
    for name in one.factors:
        assert one.factors[name].a.tobytes() == other.factors[name].a.tobytes()
        assert one.factors[name].b.tobytes() == other.factors[name].b.tobytes()
        assert one.factors[name].a.dtype == np.float32


def test_the_name_tells_apart_sets_and_weights(tiny_model: Callable[..., Any]) -> None:
    layout = layout_of(tiny_model("llama"), rank=2, alpha=32.0, targets=TARGETS)
    adapters = random_adapters(layout, 3)
    names = [
        merge_cat(adapters, layout).name,
        merge_cat(adapters[:2], layout).name,
        merge_cat([adapters[0], adapters[0]], layout).name,
        merge_cat(adapters, layout, [1, 1, 2]).name,
        merge_cat(adapters, layout, [2, 1, 1]).name,
    ]
    assert len(set(names)) == len(names)
    assert merge_cat(adapters, layout, [1, 1, 1]).name == names[0]
    assert merge_cat(adapters[::-1], layout, [2, 1, 1]).name == names[3]


def test_weights_follow_their_adapters_through_sorting(tiny_model: Callable[..., Any]) -> None:
    layout = layout_of(tiny_model("llama"), rank=2, alpha=32.0, targets=TARGETS)
    adapters = random_adapters(layout, 2)
    merged = merge_cat(adapters[::-1], layout, [0.25, 4.0])
    for m in layout.modules:
        expected = 4.0 * 16 * adapters[0][1][m.name].b @ adapters[0][1][m.name].a
        expected = expected + 0.25 * 16 * adapters[1][1][m.name].b @ adapters[1][1][m.name].a
        np.testing.assert_allclose(merged.factors[m.name].b @ merged.factors[m.name].a, expected, rtol=1e-4, atol=1e-4)


def test_padding_the_rank_changes_nothing_that_is_added(tiny_model: Callable[..., Any]) -> None:
    layout = layout_of(tiny_model("llama"), rank=2, alpha=32.0, targets=TARGETS)
    merged = merge_cat(random_adapters(layout, 3), layout)
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


def test_what_does_not_fit_the_layout_is_refused(tiny_model: Callable[..., Any]) -> None:
    layout = layout_of(tiny_model("llama"), rank=2, alpha=32.0, targets=TARGETS)
    (version, factors), good = random_adapters(layout, 2)
    first = layout.modules[0].name
    broken = {**factors, first: Factors(factors[first].a * np.inf, factors[first].b)}
    with pytest.raises(ModelError, match="not finite"):
        merge_cat([good, (version, broken)], layout)
    with pytest.raises(ModelError, match="expected"):
        merge_cat([good, (version, {**factors, first: Factors(factors[first].a[:1], factors[first].b)})], layout)
    with pytest.raises(ValueError, match="at least one"):
        merge_cat([], layout)


def test_the_sum_is_found_by_name() -> None:
    assert MERGES["sum"] is merge_cat
