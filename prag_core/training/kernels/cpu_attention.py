"""Causal attention over short samples on a CPU, as plain matrix products.

There the fused kernel behind SDPA is several times slower than the products themselves, in its backward pass above all
(two cores, bf16, 160 tokens: 9.4 ms against 2.0). Queries are taken a block at a time with the keys up to its last, because
nearly half of the products, and of the weights that are kept, would lie in the future. Those of the past exist whole, so samples
over `LONGEST` tokens keep the fused kernel.

Shapes: g document and key head, r query head of that key head, t query token, s key token, d feature.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor

NAME = "short_causal"
LONGEST = 1024  # tokens of a sample
BLOCK = 64  # queries at a time


@contextmanager
def short_attention(model: Any) -> Iterator[None]:
    """Let a model on the CPU that attends by SDPA attend by `attend` while open. Other models are left as they are."""
    # private: transformers has a setter, and no getter
    if next(model.parameters()).device.type != "cpu" or model.config._attn_implementation != "sdpa":
        yield
        return
    from transformers import AttentionInterface, AttentionMaskInterface  # slow to import
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)  # gives no mask where attention is plainly causal
    model.set_attn_implementation(NAME)
    try:
        yield
    finally:
        model.set_attn_implementation("sdpa")


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention in transformers' interface: query [n, heads, t, d], key and value [n, key heads, t, d] → [n, t, heads, d].
    Anything but causal self-attention over a short sample goes to SDPA."""
    documents, heads, tokens, width = query.shape
    if (
        attention_mask is not None
        or tokens > LONGEST
        or key.shape[2] != tokens
        or kwargs.get("position_bias") is not None
    ):
        from transformers.integrations.sdpa_attention import sdpa_attention_forward  # slow to import

        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    groups = documents * key.shape[1]
    mixed_grtd = _causal(
        query.reshape(groups, -1, tokens, width),
        key.reshape(groups, tokens, width),
        value.reshape(groups, tokens, -1),
        scaling or width**-0.5,
    )
    return mixed_grtd.view(documents, heads, tokens, -1).transpose(1, 2).contiguous(), None


class _Causal(torch.autograd.Function):
    """softmax(scaling · q kᵀ) v, each query over the keys up to its own. Of each block its weights [g, r·t, s] are kept."""

    @staticmethod
    def forward(ctx: Any, q_grtd: Tensor, k_gsd: Tensor, v_gsd: Tensor, scaling: float) -> Tensor:
        groups, repeats, tokens, width = q_grtd.shape
        mixed_grtd = q_grtd.new_empty(groups, repeats, tokens, v_gsd.shape[2])
        future_ts = q_grtd.new_full((min(BLOCK, tokens),) * 2, -torch.inf).triu_(1)
        kept, unused = [], q_grtd.new_empty(())
        for start, end in _blocks(tokens):
            rows = end - start
            query = q_grtd[:, :, start:end].reshape(groups, -1, width)
            scores = torch.baddbmm(unused, query, k_gsd[:, :end].mT, beta=0, alpha=scaling)
            scores.view(groups, repeats, rows, end)[..., start:].add_(future_ts[:rows, :rows])
            kept.append(scores.softmax(2))
            mixed = torch.bmm(kept[-1], v_gsd[:, :end])
            mixed_grtd[:, :, start:end] = mixed.view(groups, repeats, rows, -1)
        ctx.save_for_backward(q_grtd, k_gsd, v_gsd, *kept)
        ctx.scaling = scaling
        return mixed_grtd

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        q_grtd, k_gsd, v_gsd, *kept = ctx.saved_tensors
        groups, repeats, tokens, width = q_grtd.shape
        grad_q, grad_k, grad_v = torch.empty_like(q_grtd), torch.zeros_like(k_gsd), torch.zeros_like(v_gsd)
        for (start, end), weights in zip(_blocks(tokens), kept, strict=True):
            query, grad = (x[:, :, start:end].flatten(1, 2) for x in (q_grtd, upstream[0]))
            grad_v[:, :end] += torch.bmm(weights.mT, grad)
            grad_weights = torch.bmm(grad, v_gsd[:, :end].mT)
            grad_scores = torch.ops.aten._softmax_backward_data(grad_weights, weights, 2, weights.dtype)
            grad_scores.mul_(ctx.scaling)
            grad_q[:, :, start:end] = torch.bmm(grad_scores, k_gsd[:, :end]).view(groups, repeats, -1, width)
            grad_k[:, :end] += torch.bmm(grad_scores.mT, query)
        return grad_q, grad_k, grad_v, None


_causal = cast(Callable[..., Tensor], _Causal.apply)


def _blocks(tokens: int) -> Iterator[tuple[int, int]]:
    return ((start, min(start + BLOCK, tokens)) for start in range(0, tokens, BLOCK))
