"""Attention by plain products is attention. Oracle: torch's scaled_dot_product_attention."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from prag_core.training.kernels import cpu_attention
from prag_core.training.kernels.cpu_attention import attend, short_attention

TIGHT: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-9}


@pytest.mark.parametrize("key_heads", [1, 2, 4])
@pytest.mark.parametrize("scaling", [None, 0.3])
@pytest.mark.parametrize(("longest", "block"), [(512, 64), (512, 3), (512, 1), (6, 64)])
def test_outputs_and_gradients_are_those_of_sdpa(
    monkeypatch: pytest.MonkeyPatch, key_heads: int, scaling: float | None, longest: int, block: int
) -> None:
    monkeypatch.setattr(cpu_attention, "LONGEST", longest)
    monkeypatch.setattr(cpu_attention, "BLOCK", block)
    generator = torch.Generator().manual_seed(0)
    shapes = [(3, 4, 7, 8), (3, key_heads, 7, 8), (3, key_heads, 7, 8)]
    query, key, value = (
        torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_() for shape in shapes
    )
    module = SimpleNamespace(num_key_value_groups=4 // key_heads, is_causal=True)
    ours, _ = attend(module, query, key, value, None, scaling=scaling)
    expected = scaled_dot_product_attention(
        query, key, value, is_causal=True, scale=scaling, enable_gqa=True
    ).transpose(1, 2)
    torch.testing.assert_close(ours, expected, **TIGHT)
    upstream = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
    for one, other in zip(
        torch.autograd.grad(ours, (query, key, value), upstream),
        torch.autograd.grad(expected, (query, key, value), upstream),
        strict=True,
    ):
        torch.testing.assert_close(one, other, **TIGHT)


@pytest.mark.parametrize("family", ["llama", "mistral"])
def test_a_window_that_cuts_is_kept(tiny_model: Callable[..., Any], family: str) -> None:
    model = tiny_model(family, torch.float64)
    model.config.sliding_window = 4
    tokens = torch.arange(12).unsqueeze(0)
    expected = model(input_ids=tokens).logits
    with short_attention(model):
        assert model.config._attn_implementation == cpu_attention.NAME
        torch.testing.assert_close(model(input_ids=tokens).logits, expected, **TIGHT)
    assert model.config._attn_implementation == "sdpa"


def test_another_attention_is_left_alone(tiny_model: Callable[..., Any]) -> None:
    model = tiny_model("llama")
    model.set_attn_implementation("eager")
    with short_attention(model):
        assert model.config._attn_implementation == "eager"
