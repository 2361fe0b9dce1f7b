"""Causal attention over short samples on a CPU, as plain matrix products.

There the fused kernel behind SDPA is several times slower than the products themselves, in its backward pass above all
(two cores, bf16, 160 tokens: 9.4 ms against 2.0). The scores of one layer then exist whole, [documents, heads, T, T], so
samples over `LONGEST` tokens keep the fused kernel.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

NAME = "short_causal"
LONGEST = 512  # tokens of a sample


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
    groups = documents * key.shape[1]  # heads that share keys and values become one taller product
    query_gtd = query.reshape(groups, -1, width)
    future = torch.full((tokens, tokens), -torch.inf, dtype=query.dtype, device=query.device).triu_(1)
    mask = future.repeat(heads // key.shape[1], 1)
    scores = torch.baddbmm(
        mask, query_gtd, key.reshape(groups, tokens, width).mT, alpha=scaling or width**-0.5
    )
    mixed = torch.bmm(scores.softmax(-1), value.reshape(groups, tokens, value.shape[-1]))
    return mixed.view(documents, heads, tokens, -1).transpose(1, 2).contiguous(), None
