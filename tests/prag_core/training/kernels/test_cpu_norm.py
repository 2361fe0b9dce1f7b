"""Lean norms are transformers' norms: to the bit in the forward pass, and in gradients. Oracle: its modules, and autograd."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from prag_core.training.kernels.cpu_norm import NORMS, lean_norms, rms_norm

TOKENS = torch.arange(12).unsqueeze(0)


def test_gradients_are_those_of_the_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    x, weight, upstream = (
        torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((3, 5, 8), (8,), (3, 5, 8))
    )
    x.requires_grad_()
    expected = weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-3)
    ours = rms_norm(x, weight, 1e-3)
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)
    (gradient,), (other) = (torch.autograd.grad(y, x, upstream) for y in (ours, expected))
    torch.testing.assert_close(gradient, other[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3"])
def test_a_model_says_the_same_to_the_bit_and_learns_the_same(
    tiny_model: Callable[..., Any], family: str, dtype: torch.dtype
) -> None:
    model = tiny_model(family, dtype)
    embedding = model.get_input_embeddings()(TOKENS).detach().requires_grad_()

    def run() -> tuple[torch.Tensor, torch.Tensor]:
        logits = model(inputs_embeds=embedding).logits
        return logits.detach(), torch.autograd.grad(logits.float().square().mean(), embedding)[0]

    expected, gradient = run()
    norms = [module for module in model.modules() if type(module).__name__ in NORMS]
    with lean_norms(model):
        assert norms and all("forward" in vars(norm) for norm in norms)
        ours, other = run()
    assert not any("forward" in vars(norm) for norm in norms)
    assert torch.equal(ours, expected)
    off = (other.double() - gradient.double()).norm() / gradient.double().norm()
    assert off < (1e-5 if dtype == torch.float32 else 2e-2)


def test_a_float64_model_keeps_its_own(tiny_model: Callable[..., Any]) -> None:
    model = tiny_model("llama", torch.float64)
    with lean_norms(model):
        assert not any("forward" in vars(module) for module in model.modules())
