"""Losses and likeliest tokens through a frozen output head, a block of positions at a time, so that [m, vocabulary] never
exists whole.

A block's logits are made, used and dropped in the forward pass; that of a loss leaves the gradient to the hidden states behind
instead. Softmax is in float32 at least. Shapes: m position, v vocabulary entry, d feature.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.functional import linear

LOGITS_AT_ONCE = {
    "cpu": 2**19,
    "cuda": 2**27,
}  # entries of the logits matrix that exist at a time: cache, memory


class _BlockwiseLoss(torch.autograd.Function):
    """A loss at each position whose forward pass saves the gradient to the hidden states."""

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient_md,) = ctx.saved_tensors
        return gradient_md * upstream[0].unsqueeze(1).to(gradient_md.dtype), None, None, None


class _CrossEntropy(_BlockwiseLoss):
    """Negative log-probability of each position's target."""

    @staticmethod
    def forward(
        ctx: Any, hidden_md: Tensor, weight_vd: Tensor, bias_v: Tensor | None, targets_m: Tensor
    ) -> Tensor:
        gradient_md = torch.empty_like(hidden_md)
        losses = []
        for part in _blocks(hidden_md, weight_vd):
            log_probs = _log_softmax(linear(hidden_md[part], weight_vd, bias_v))
            target = targets_m[part].unsqueeze(1)
            losses.append(-log_probs.gather(1, target).squeeze(1))
            gradient = log_probs.exp_()
            gradient.scatter_add_(1, target, gradient.new_full((1, 1), -1.0).expand_as(target))
            torch.mm(gradient.to(weight_vd.dtype), weight_vd, out=gradient_md[part])
        ctx.save_for_backward(gradient_md)
        return torch.cat(losses)


class _Divergence(_BlockwiseLoss):
    """KL(p ‖ q) over the whole vocabulary at each position: p what the teacher's hidden states predict, q what `hidden_md`
    does, through the same head."""

    @staticmethod
    def forward(
        ctx: Any, hidden_md: Tensor, weight_vd: Tensor, bias_v: Tensor | None, teacher_md: Tensor
    ) -> Tensor:
        gradient_md = torch.empty_like(hidden_md)
        losses = []
        for part in _blocks(hidden_md, weight_vd):
            log_q = _log_softmax(linear(hidden_md[part], weight_vd, bias_v))
            log_p = _log_softmax(linear(teacher_md[part], weight_vd, bias_v))
            p = log_p.exp()
            losses.append(log_p.sub_(log_q).mul_(p).sum(1))
            gradient = log_q.exp_().sub_(p)
            torch.mm(gradient.to(weight_vd.dtype), weight_vd, out=gradient_md[part])
        ctx.save_for_backward(gradient_md)
        return torch.cat(losses)


def likeliest(hidden_md: Tensor, weight_vd: Tensor, bias_v: Tensor | None) -> Tensor:
    """Return the vocabulary entry with the highest logit at each position."""
    return torch.cat(
        [linear(hidden_md[part], weight_vd, bias_v).argmax(1) for part in _blocks(hidden_md, weight_vd)]
    )


def _blocks(hidden_md: Tensor, weight_vd: Tensor) -> Iterator[slice]:
    rows = max(128, LOGITS_AT_ONCE.get(hidden_md.device.type, 2**22) // weight_vd.shape[0])
    return (slice(start, start + rows) for start in range(0, len(hidden_md), rows))


def _log_softmax(logits: Tensor) -> Tensor:
    return logits.log_softmax(1, dtype=torch.float64 if logits.dtype == torch.float64 else torch.float32)


cross_entropy = cast(Callable[..., Tensor], _CrossEntropy.apply)
divergence = cast(Callable[..., Tensor], _Divergence.apply)
