"""Losses and likeliest tokens through a frozen output head, a block of positions at a time, so that [m, vocabulary] never
exists whole.

A block's logits are made, used and dropped in the forward pass; that of a loss turns them into their own gradient and leaves
the gradient to the hidden states behind instead. Softmax is in float32 at least, over so few positions at a time that on a CPU
its passes stay in the cache, where the products want more. Shapes: m position, v vocabulary entry, d feature.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.functional import linear

LOGITS_AT_ONCE = {"cpu": 2**19, "cuda": 2**27}  # entries that a softmax has at a time: cache, memory
PRODUCT_ROWS = 256  # positions of a block at least: with fewer its products are slow


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
        for block in _blocks(hidden_md, weight_vd):
            logits = linear(hidden_md[block], weight_vd, bias_v)
            for part in _parts(logits):
                log_probs = _log_softmax(logits[part])
                target = targets_m[block][part].unsqueeze(1)
                losses.append(-log_probs.gather(1, target).squeeze(1))
                gradient = log_probs.exp_()
                gradient.scatter_add_(1, target, gradient.new_full((1, 1), -1.0).expand_as(target))
                logits[part] = gradient
            torch.mm(logits, weight_vd, out=gradient_md[block])
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
        for block in _blocks(hidden_md, weight_vd):
            logits, teacher_logits = (
                linear(states_md[block], weight_vd, bias_v) for states_md in (hidden_md, teacher_md)
            )
            for part in _parts(logits):
                log_q, log_p = _log_softmax(logits[part]), _log_softmax(teacher_logits[part])
                p = log_p.exp()
                losses.append(log_p.sub_(log_q).mul_(p).sum(1))
                logits[part] = log_q.exp_().sub_(p)
            torch.mm(logits, weight_vd, out=gradient_md[block])
        ctx.save_for_backward(gradient_md)
        return torch.cat(losses)


def likeliest(hidden_md: Tensor, weight_vd: Tensor, bias_v: Tensor | None) -> Tensor:
    """Return the vocabulary entry with the highest logit at each position."""
    return torch.cat(
        [linear(hidden_md[block], weight_vd, bias_v).argmax(1) for block in _blocks(hidden_md, weight_vd)]
    )


def _blocks(hidden_md: Tensor, weight_vd: Tensor) -> Iterator[slice]:
    """Yield the positions whose logits exist at a time."""
    return _slices(len(hidden_md), max(PRODUCT_ROWS, _softmax_rows(weight_vd.shape[0], weight_vd.device)))


def _parts(logits: Tensor) -> Iterator[slice]:
    """Yield the rows of a block's logits whose softmax is taken at a time."""
    return _slices(len(logits), _softmax_rows(logits.shape[1], logits.device))


def _softmax_rows(vocabulary: int, device: torch.device) -> int:
    return max(1, LOGITS_AT_ONCE.get(device.type, 2**22) // vocabulary)


def _slices(length: int, rows: int) -> Iterator[slice]:
    return (slice(start, start + rows) for start in range(0, length, rows))


def _log_softmax(logits: Tensor) -> Tensor:
    return logits.log_softmax(1, dtype=torch.float64 if logits.dtype == torch.float64 else torch.float32)


cross_entropy = cast(Callable[..., Tensor], _CrossEntropy.apply)
divergence = cast(Callable[..., Tensor], _Divergence.apply)
