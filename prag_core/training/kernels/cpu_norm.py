"""RMS norms on a CPU as one differentiable function each.

Transformers computes a norm in some seven passes over memory, which autograd doubles, and keeps two float32 copies of its input.
Here the input alone is kept, and half of the passes go. The forward pass is transformers' own to the bit. A float64 model keeps
its own norms, because they are float32 inside, where another order of sums would show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any, cast

import torch
from torch import Tensor

NORMS = {"LlamaRMSNorm", "MistralRMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm"}  # exactly weight * (x / rms(x))


@contextmanager
def lean_norms(model: Any) -> Iterator[None]:
    """Let a model on the CPU, in float32 or narrower, normalise by `rms_norm` while open. Other models are left as they are."""
    parameter = next(model.parameters())
    wide = parameter.device.type != "cpu" or parameter.dtype == torch.float64
    norms = [] if wide else [module for module in model.modules() if type(module).__name__ in NORMS]
    for norm in norms:
        norm.__dict__["forward"] = MethodType(_forward, norm)  # hides the class's method
    try:
        yield
    finally:
        for norm in norms:
            norm.__dict__.pop("forward", None)


class _RmsNorm(torch.autograd.Function):
    """y = weight · x / √(mean(x²) + eps) over the last dimension, in float32 at least; the weight is frozen."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        x_wide = _wide_copy(x)
        scale = x_wide.pow(2).mean(-1, keepdim=True).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight, scale)
        return x_wide.mul_(scale).to(x.dtype) * weight

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, scale = ctx.saved_tensors
        grad = (upstream[0] * weight).to(scale.dtype)
        normal = _wide_copy(x).mul_(scale)
        along = torch.linalg.vecdot(grad, normal).div_(-x.shape[-1]).unsqueeze(-1)
        return grad.addcmul_(normal, along).mul_(scale).to(x.dtype), None, None


rms_norm = cast(Callable[..., Tensor], _RmsNorm.apply)


def _wide_copy(x: Tensor) -> Tensor:
    return x.to(torch.float64 if x.dtype == torch.float64 else torch.float32, copy=True)


def _forward(norm: Any, x: Tensor) -> Tensor:
    return rms_norm(x, norm.weight, norm.variance_epsilon)
