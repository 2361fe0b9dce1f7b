"""The number of documents to train at once: as many as memory holds and speed gains from.

A document costs its factors, their gradients and two moments for the whole cohort, and the activations that the
backward pass needs, for one sample at a time. Activations are estimated from the model's widths, rounded up.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
import torch

from prag_core.models.lora import AdapterLayout
from prag_core.training.kernels.cpu_attention import BLOCK, LONGEST
from prag_core.training.kernels.stacked_lora import RANK_MULTIPLE

SHARE_OF_FREE_MEMORY = 0.6
CONTROL_GROUP = Path("/sys/fs/cgroup")
TOKENS_AT_ONCE = {"cpu": 2560, "cuda": 65536}  # beyond which a step gains nothing; on the CPU per thread


def choose_cohort_size(
    model: Any, layout: AdapterLayout, max_tokens: int, free_bytes: int | None = None
) -> int:
    """Return the documents of a cohort whose longest sample has `max_tokens`; at least 1. `free_bytes` is measured if None."""
    device = next(model.parameters()).device
    free = free_bytes if free_bytes is not None else free_memory(device)
    by_memory = int(free * SHARE_OF_FREE_MEMORY) // (
        factor_bytes(layout, device) + max_tokens * activation_bytes(model, max_tokens)
    )
    threads = torch.get_num_threads() if device.type == "cpu" else 1
    by_speed = threads * TOKENS_AT_ONCE.get(device.type, 4096) // max_tokens
    return max(1, min(by_memory, by_speed))


def factor_bytes(layout: AdapterLayout, device: torch.device) -> int:
    """Bytes of one document's factors, gradients, moments and copy in the model's dtype, at the rank they have in memory."""
    padded = layout.rank + -layout.rank % RANK_MULTIPLE.get(device.type, 1)
    return 5 * 4 * layout.num_parameters * padded // layout.rank


def activation_bytes(model: Any, num_tokens: int) -> int:
    """Upper estimate of the bytes for one token of a sample of `num_tokens`.

    Per layer what the backward pass keeps (vectors of the hidden and of the feed-forward width; on the CPU the attention
    weights of a sample's past, elsewhere norms' vectors in float32 over any base), and once its working memory.
    """
    config, parameter = model.config, next(model.parameters())
    width, inner = config.hidden_size, getattr(config, "intermediate_size", 4 * config.hidden_size)
    element = parameter.element_size()
    kept = element * (6 * width + 4.5 * inner)
    if parameter.device.type != "cpu":
        kept += max(element, 4) * 4 * width
    elif num_tokens <= LONGEST:
        kept += element * config.num_attention_heads * (num_tokens + BLOCK) / 2
    return int(config.num_hidden_layers * kept + max(element, 4) * (10 * width + 6 * inner))


def free_memory(device: torch.device) -> int:
    """Bytes that training may still take on a device; on the CPU the lesser of the machine's and this container's."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(
            device
        )  # held by torch, free for use
        return int(torch.cuda.mem_get_info(device)[0]) + cached
    free = int(psutil.virtual_memory().available)
    limit, used = (_control_group_bytes(name) for name in ("memory.max", "memory.current"))
    return free if limit is None or used is None else min(free, limit - used)


def _control_group_bytes(name: str) -> int | None:
    """A figure of this container's control group, which psutil does not read; None without one, or without a limit."""
    try:
        text = (CONTROL_GROUP / name).read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None
