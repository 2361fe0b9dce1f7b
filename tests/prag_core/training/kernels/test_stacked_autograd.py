"""The feed-forward block as one function is the block. Oracle: torch's own differentiation of the formula."""

from __future__ import annotations

import torch
from torch.nn.functional import silu

from prag_core.training.kernels.stacked_autograd import stacked_linear, stacked_swiglu

GENERATOR = torch.Generator().manual_seed(0)


def draw(*shape: int, trained: bool = True) -> torch.Tensor:
    return torch.randn(shape, generator=GENERATOR, dtype=torch.float64).requires_grad_(trained)


def test_one_module_has_the_gradients_of_its_formula() -> None:
    inputs = [draw(3, 5, 6), draw(7, 6, trained=False), draw(7, trained=False), draw(3, 2, 6), draw(3, 2, 7)]
    torch.autograd.gradcheck(lambda *tensors: stacked_linear(*tensors, 4.0), inputs)


def test_a_block_has_the_outputs_and_gradients_of_its_formula() -> None:
    x, gate, up, down = (
        draw(3, 5, 6),
        draw(7, 6, trained=False),
        draw(7, 6, trained=False),
        draw(6, 7, trained=False),
    )
    factors = [draw(3, 2, 6), draw(3, 2, 7), draw(3, 2, 6), draw(3, 2, 7), draw(3, 2, 7), draw(3, 2, 6)]

    def adapted(inputs: torch.Tensor, weight: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return inputs @ weight.T + 4.0 * (inputs @ a.mT) @ b

    inner = silu(adapted(x, gate, *factors[:2])) * adapted(x, up, *factors[2:4])
    expected = adapted(inner, down, *factors[4:])
    ours = stacked_swiglu(x, gate, up, down, 4.0, *factors)
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)
    upstream = draw(3, 5, 6, trained=False)
    gradients = [
        torch.autograd.grad(output, [x, *factors], upstream, retain_graph=True) for output in (ours, expected)
    ]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
        assert one.is_contiguous()  # as fused AdamW needs them


def test_an_input_that_needs_no_gradient_gets_none() -> None:
    x, factors = draw(3, 5, 6, trained=False), [draw(3, 2, 6), draw(3, 2, 7)]
    assert torch.autograd.grad(
        stacked_linear(x, draw(7, 6, trained=False), None, *factors, 1.0).sum(), factors
    )
