"""A frozen module with N documents' factors beside it, as one differentiable function each.

Gradients exist for the input and the factors alone: the frozen weight never gets one, and the input's is left out where
nothing before it is trained. Backward passes keep the fewest activations they can work from.

Shapes: n document, t token, r rank, i in_features, o out_features. Factors are a [n, r, i] and b [n, r, o], of any float
dtype; they are cast to the activations' where they meet them, and their gradients back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.functional import linear, silu


class _StackedLinear(torch.autograd.Function):
    """y = x Wᵀ + bias + s · (x Aₙᵀ) Bₙ for every document n."""

    @staticmethod
    def forward(
        ctx: Any,
        x_nti: Tensor,
        weight_oi: Tensor,
        bias_o: Tensor | None,
        a_nri: Tensor,
        b_nro: Tensor,
        scaling: float,
    ) -> Tensor:
        a, b = a_nri.to(x_nti.dtype), b_nro.to(x_nti.dtype)
        shrunk_ntr = torch.bmm(x_nti, a.mT).mul_(scaling)
        ctx.save_for_backward(x_nti, shrunk_ntr, weight_oi, a_nri, b_nro)
        ctx.scaling = scaling
        return linear(x_nti, weight_oi, bias_o).baddbmm_(shrunk_ntr, b)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        x_nti, shrunk_ntr, weight_oi, a_nri, b_nro = ctx.saved_tensors
        grad_nto = upstream[0]
        a, b = a_nri.to(x_nti.dtype), b_nro.to(x_nti.dtype)
        grad_b = torch.bmm(shrunk_ntr.mT, grad_nto)
        grad_shrunk_ntr = torch.bmm(grad_nto, b.mT).mul_(ctx.scaling)
        grad_a = torch.bmm(grad_shrunk_ntr.mT, x_nti)
        grad_x = (
            torch.matmul(grad_nto, weight_oi).baddbmm_(grad_shrunk_ntr, a)
            if ctx.needs_input_grad[0]
            else None
        )
        return grad_x, None, None, grad_a.to(a_nri.dtype), grad_b.to(b_nro.dtype), None


class _StackedSwiGlu(torch.autograd.Function):
    """y = down(silu(gate(x)) · up(x)), each of the three with its documents' factors.

    Gate and up shrink x in one product. Of the wide activations only gate(x) and up(x) are kept; what follows from them
    is computed again. Here i is the narrow width and o the wide one, for down too: its a is [n, r, o], its b [n, r, i].
    """

    @staticmethod
    def forward(
        ctx: Any,
        x_nti: Tensor,
        gate_oi: Tensor,
        up_oi: Tensor,
        down_io: Tensor,
        scaling: float,
        *factors: Tensor,
    ) -> Tensor:
        a_gate, b_gate, a_up, b_up, a_down, b_down = (factor.to(x_nti.dtype) for factor in factors)
        rank = a_gate.shape[1]
        shrunk = torch.bmm(x_nti, torch.cat((a_gate, a_up), 1).mT).mul_(scaling)
        gate_nto = linear(x_nti, gate_oi).baddbmm_(shrunk[..., :rank], b_gate)
        up_nto = linear(x_nti, up_oi).baddbmm_(shrunk[..., rank:], b_up)
        inner_nto = silu(gate_nto).mul_(up_nto)
        shrunk_inner = torch.bmm(inner_nto, a_down.mT).mul_(scaling)
        ctx.save_for_backward(
            x_nti, shrunk, gate_nto, up_nto, shrunk_inner, gate_oi, up_oi, down_io, *factors
        )
        ctx.scaling = scaling
        return linear(inner_nto, down_io).baddbmm_(shrunk_inner, b_down)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        x_nti, shrunk, gate_nto, up_nto, shrunk_inner, gate_oi, up_oi, down_io, *factors = ctx.saved_tensors
        a_gate, b_gate, a_up, b_up, a_down, b_down = (factor.to(x_nti.dtype) for factor in factors)
        rank, (grad_nti,) = a_gate.shape[1], upstream

        activated = silu(gate_nto)
        grad_shrunk_inner = torch.bmm(grad_nti, b_down.mT).mul_(ctx.scaling)
        grad_a_down = torch.bmm(grad_shrunk_inner.mT, activated * up_nto)
        grad_b_down = torch.bmm(shrunk_inner.mT, grad_nti)
        grad_inner = torch.matmul(grad_nti, down_io).baddbmm_(grad_shrunk_inner, a_down)

        grad_up = activated.mul_(grad_inner)
        grad_gate = torch.ops.aten.silu_backward(grad_inner.mul_(up_nto), gate_nto)
        grad_b_gate = torch.bmm(shrunk[..., :rank].mT, grad_gate)
        grad_b_up = torch.bmm(shrunk[..., rank:].mT, grad_up)
        grad_shrunk = torch.cat((torch.bmm(grad_gate, b_gate.mT), torch.bmm(grad_up, b_up.mT)), 2).mul_(
            ctx.scaling
        )
        grad_a = torch.bmm(grad_shrunk.mT, x_nti)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = torch.matmul(grad_gate, gate_oi).baddbmm_(grad_shrunk, torch.cat((a_gate, a_up), 1))
            grad_x.flatten(0, 1).addmm_(grad_up.flatten(0, 1), up_oi)
        # contiguous: fused AdamW reads gradients as they lie
        gradients = (grad_a[:, :rank], grad_b_gate, grad_a[:, rank:], grad_b_up, grad_a_down, grad_b_down)
        return (
            grad_x,
            None,
            None,
            None,
            None,
            *(g.to(factor.dtype).contiguous() for g, factor in zip(gradients, factors, strict=True)),
        )


stacked_linear = cast(Callable[..., Tensor], _StackedLinear.apply)
stacked_swiglu = cast(Callable[..., Tensor], _StackedSwiGlu.apply)
