"""Each row of a batch meets its own document's factors and no other. Oracle: the factors added to dense weights."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from prag_core.errors import ModelError
from prag_core.models.lora import AdapterLayout, ModuleShape, initial_factors, layout_of
from prag_core.training.kernels import stacked_lora
from prag_core.training.kernels.stacked_lora import StackedLora, document_factors

TARGETS = ["gate_proj", "up_proj", "down_proj"]
TOKENS = torch.tensor([[3, 14, 15, 9, 26], [5, 35, 8, 9, 7], [9, 3, 2, 38, 4]])


def random_stack(layout: AdapterLayout, dtype: torch.dtype = torch.float64) -> StackedLora:
    initial = initial_factors(layout, seed=0)
    lora = StackedLora(layout, initial, 3, dtype=dtype, device=torch.device("cpu"))
    generator = torch.Generator().manual_seed(1)
    for tensor in lora.tensors:
        shape = (3, layout.rank, tensor.shape[2])
        tensor[:, : layout.rank] = 0.3 * torch.randn(shape, generator=generator, dtype=torch.float64).to(
            tensor.dtype
        )
    return lora


@pytest.mark.parametrize(
    ("family", "targets"),
    [
        *product(["llama", "qwen2", "qwen3", "mistral"], [TARGETS, ["q_proj", "o_proj", "down_proj"]]),
        ("phi3", ["gate_up_proj", "down_proj", "qkv_proj"]),  # fused projections
    ],
)
def test_every_row_is_the_dense_model_of_its_own_document(
    tiny_model: Callable[..., Any], family: str, targets: list[str]
) -> None:
    model = tiny_model(family, torch.float64)
    layout = layout_of(model, rank=2, alpha=32.0, targets=targets)
    lora = random_stack(layout)
    lora.activate(3)
    with torch.no_grad(), lora.attach(model):
        stacked = model(input_ids=TOKENS).logits
    for n in range(3):
        dense = copy.deepcopy(model)
        for name, (a, b) in document_factors(layout, lora.unpadded(), n).items():
            dense.get_submodule(name).weight += 16.0 * torch.as_tensor(b) @ torch.as_tensor(a)
        torch.testing.assert_close(
            stacked[n], dense(input_ids=TOKENS[n : n + 1]).logits[0], rtol=1e-9, atol=1e-9
        )


@pytest.mark.parametrize("rank_multiple", [1, 8])
def test_all_start_from_the_initial_adapter_unchanged(
    tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, rank_multiple: int
) -> None:
    monkeypatch.setitem(stacked_lora.RANK_MULTIPLE, "cpu", rank_multiple)
    layout = layout_of(tiny_model("llama"), rank=2, alpha=32.0, targets=TARGETS)
    initial = initial_factors(layout, seed=3)
    lora = StackedLora(layout, initial, 2, dtype=torch.float32, device=torch.device("cpu"))
    for n in range(2):
        for name, (a, b) in document_factors(layout, lora.unpadded(), n).items():
            np.testing.assert_array_equal(a, initial[name].a)
            np.testing.assert_array_equal(b, initial[name].b)


def test_padding_the_rank_changes_no_output_and_takes_no_gradient(
    tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model("llama", torch.float64)
    layout = layout_of(model, rank=2, alpha=32.0, targets=TARGETS)
    outputs, gradients = [], []
    for rank_multiple in (1, 8):
        monkeypatch.setitem(stacked_lora.RANK_MULTIPLE, "cpu", rank_multiple)
        lora = random_stack(layout)
        leaves = lora.activate(3)
        with lora.attach(model):
            outputs.append(model(input_ids=TOKENS).logits)
            gradients.append(torch.autograd.grad(outputs[-1].square().sum(), leaves))
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-9, atol=1e-9)
    for plain, padded in zip(*gradients, strict=True):
        assert padded.shape[1] == 8
        torch.testing.assert_close(plain, padded[:, :2], rtol=1e-9, atol=1e-9)
        assert plain.abs().max() > 0
        assert not padded[:, 2:].any()


@pytest.mark.parametrize(
    ("base", "kept"),
    [(torch.bfloat16, torch.float32), (torch.float32, torch.float32), (torch.float64, torch.float64)],
)
def test_factors_and_gradients_keep_their_precision_over_any_base(
    tiny_model: Callable[..., Any], base: torch.dtype, kept: torch.dtype
) -> None:
    model = tiny_model("llama", base)
    lora = random_stack(layout_of(model, rank=2, alpha=32.0, targets=TARGETS), base)
    leaves = lora.activate(3)
    with lora.attach(model):
        logits = model(input_ids=TOKENS).logits
        gradients = torch.autograd.grad(logits.float().sum(), leaves)
    assert logits.dtype == base
    assert {tensor.dtype for tensor in (*leaves, *gradients)} == {kept}


def test_active_leaves_are_views_of_the_first_documents(tiny_model: Callable[..., Any]) -> None:
    lora = random_stack(layout_of(tiny_model("llama"), rank=2, alpha=32.0, targets=TARGETS))
    for leaf, tensor in zip(lora.activate(2), lora.tensors, strict=True):
        assert leaf.is_leaf and leaf.requires_grad
        assert leaf.data_ptr() == tensor.data_ptr() and len(leaf) == 2


def test_the_model_is_itself_again_afterwards_even_after_an_error(tiny_model: Callable[..., Any]) -> None:
    model = tiny_model("llama")
    before, weights = model(input_ids=TOKENS).logits, {k: v.clone() for k, v in model.state_dict().items()}
    lora = random_stack(layout_of(model, rank=2, alpha=32.0, targets=TARGETS), torch.float32)
    lora.activate(3)
    with pytest.raises(RuntimeError, match="in between"), lora.attach(model):
        assert not torch.equal(model(input_ids=TOKENS).logits, before)
        raise RuntimeError("in between")
    assert torch.equal(model(input_ids=TOKENS).logits, before)
    assert all(torch.equal(v, weights[k]) for k, v in model.state_dict().items())
    assert not any("forward" in vars(module) for module in model.modules())


def test_a_layout_of_another_model_is_refused(tiny_model: Callable[..., Any]) -> None:
    model = tiny_model("mistral")  # its output head is its own
    good = layout_of(model, rank=2, alpha=32.0, targets=TARGETS)
    first = good.modules[0]
    for module, message in [
        (
            ModuleShape("model.layers.9.mlp.up_proj", 16, 24),
            "layers.9.mlp.up_proj is not a plain linear module",
        ),
        (ModuleShape("lm_head", 16, 64), "lm_head is not a plain linear module"),
        (ModuleShape(first.name, 16, 23), "not of the layout's shape"),
    ]:
        lora = random_stack(AdapterLayout((module,), 2, 32.0))
        with pytest.raises(ModelError, match=message), lora.attach(model):
            pass
    assert not any("forward" in vars(module) for module in model.modules())
