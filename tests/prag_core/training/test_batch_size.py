"""A cohort fits the memory there is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from prag_core.models.lora import initial_factors, layout_of
from prag_core.records import Sample
from prag_core.training import batch_size
from prag_core.training.batch_size import (
    SHARE_OF_FREE_MEMORY,
    activation_bytes,
    choose_cohort_size,
    factor_bytes,
    free_memory,
)
from prag_core.training.kernels.cpu_attention import short_attention
from prag_core.training.kernels.cpu_norm import lean_norms
from prag_core.training.kernels.stacked_lora import StackedLora
from prag_core.training.objectives import collate, next_token

TARGETS = ["gate_proj", "up_proj", "down_proj"]


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "mistral"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_estimate_covers_what_the_backward_pass_keeps(
    tiny_model: Callable[..., Any], family: str, dtype: torch.dtype
) -> None:
    model = tiny_model(family, dtype)
    layout = layout_of(model, rank=2, alpha=32.0, targets=TARGETS)
    lora = StackedLora(layout, initial_factors(layout, 0), 4, dtype=dtype, device=torch.device("cpu"))
    tokens = tuple(range(60))
    lora.activate(4)
    kept: dict[int, int] = {}
    ours = {tensor.untyped_storage().data_ptr() for tensor in (*lora.tensors, *model.parameters())}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in ours:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with (
        lora.attach(model),
        short_attention(model),
        lean_norms(model),
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
    ):
        loss = next_token(model, collate([Sample(tokens, tokens)] * 4, torch.device("cpu")))
    assert loss.requires_grad
    measured = sum(kept.values()) / (4 * len(tokens))
    assert measured <= activation_bytes(model, len(tokens)) <= 4 * measured


def test_more_memory_or_shorter_samples_allow_more_documents(tiny_model: Callable[..., Any]) -> None:
    model = tiny_model("llama")
    layout = layout_of(model, rank=2, alpha=32.0, targets=TARGETS)
    sizes = [choose_cohort_size(model, layout, 100, free_bytes=free) for free in (0, 2**20, 2**22, 2**23)]
    assert sizes[0] == 1
    assert sizes == sorted(sizes) and sizes[-1] > sizes[1]
    assert choose_cohort_size(model, layout, 50, free_bytes=2**22) > choose_cohort_size(
        model, layout, 200, free_bytes=2**22
    )
    needed = sizes[2] * (100 * activation_bytes(model, 100) + factor_bytes(layout, torch.device("cpu")))
    assert needed <= 2**22 * SHARE_OF_FREE_MEMORY < needed * (1 + 1 / sizes[2])


def test_a_step_is_no_longer_than_speed_gains_from(tiny_model: Callable[..., Any]) -> None:
    model = tiny_model("llama")
    layout = layout_of(model, rank=2, alpha=32.0, targets=TARGETS)
    assert choose_cohort_size(model, layout, 128, free_bytes=2**50) == choose_cohort_size(
        model, layout, 128, free_bytes=2**45
    )
    assert choose_cohort_size(model, layout, 10**6, free_bytes=2**50) == 1


def test_a_documents_factors_are_counted_as_they_lie_in_memory(tiny_model: Callable[..., Any]) -> None:
    model = tiny_model("llama")
    layout = layout_of(model, rank=2, alpha=32.0, targets=TARGETS)
    lora = StackedLora(layout, initial_factors(layout, 0), 1, dtype=torch.float32, device=torch.device("cpu"))
    assert factor_bytes(layout, torch.device("cpu")) == 5 * sum(tensor.nbytes for tensor in lora.tensors)
    assert factor_bytes(layout, torch.device("cuda")) == 4 * factor_bytes(
        layout, torch.device("cpu")
    )  # rank 2 lies as 8


def test_free_memory_is_read_from_this_machine() -> None:
    assert 2**20 < free_memory(torch.device("cpu")) < 2**50


@pytest.mark.parametrize(("limit", "expected"), [("5000000", 3_000_000), ("max", 2**40), (None, 2**40)])
def test_free_memory_is_that_of_the_container_where_it_has_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str | None, expected: int
) -> None:
    monkeypatch.setattr(batch_size, "CONTROL_GROUP", tmp_path)
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=2**40))
    (tmp_path / "memory.current").write_text("2000000\n")
    if limit is not None:
        (tmp_path / "memory.max").write_text(f"{limit}\n")
    assert free_memory(torch.device("cpu")) == expected
