"""Objectives give each document's own mean loss. Oracle: torch's cross-entropy over the model's whole logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from prag_core import objectives
from prag_core.errors import ModelError
from prag_core.objectives import IGNORED, OBJECTIVES, collate, next_token
from prag_core.records import Sample

CPU = torch.device("cpu")


def random_samples(lengths: list[int], vocab_size: int = 64) -> list[Sample]:
    generator = torch.Generator().manual_seed(0)
    rows = [tuple(torch.randint(0, vocab_size, (length,), generator=generator).tolist()) for length in lengths]
    return [Sample(tokens, tuple(t if i % 3 else IGNORED for i, t in enumerate(tokens))) for tokens in rows]


def test_collation_shifts_labels_and_pads_on_the_right() -> None:
    batch = collate([Sample((5, 6, 7), (5, 6, 7)), Sample((8, 9, 1, 2), (IGNORED, 9, IGNORED, 2))], CPU)
    assert batch.token_ids_nt.tolist() == [[5, 6, 7, 0], [8, 9, 1, 2]]
    assert batch.positions_m.tolist() == [0, 1, 4, 6]  # where 6, 7, 9 and 2 are predicted
    assert batch.targets_m.tolist() == [6, 7, 9, 2]
    assert batch.document_m.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "mistral"])
def test_next_token_is_the_mean_cross_entropy_of_each_sample_alone(
    tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    monkeypatch.setattr(objectives, "LOGITS_AT_ONCE", {"cpu": 1})  # the fewest rows a block may have
    model = tiny_model(family, torch.float64)
    samples = random_samples([90, 7, 130, 64])
    batch = collate(samples, CPU)
    assert len(batch.targets_m) > 128  # more than one block
    loss_n = next_token(model, batch)
    for loss, sample in zip(loss_n, samples, strict=True):
        logits = model(input_ids=torch.tensor([sample.token_ids])).logits
        expected = cross_entropy(logits[0, :-1], torch.tensor(sample.labels[1:]), ignore_index=IGNORED)
        torch.testing.assert_close(loss, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("with_bias", [False, True])
def test_the_gradient_to_the_hidden_states_is_right_across_blocks(monkeypatch: pytest.MonkeyPatch, with_bias: bool) -> None:
    monkeypatch.setattr(objectives, "LOGITS_AT_ONCE", {"cpu": 1})
    generator = torch.Generator().manual_seed(0)
    hidden, weight = (torch.randn(rows, 5, generator=generator, dtype=torch.float64) for rows in (300, 11))
    bias = torch.randn(11, generator=generator, dtype=torch.float64) if with_bias else None
    targets = torch.randint(0, 11, (300,), generator=generator)
    upstream = torch.rand(300, generator=generator, dtype=torch.float64)
    ours, theirs = hidden.clone().requires_grad_(), hidden.clone().requires_grad_()
    loss = objectives._cross_entropy(ours, weight, bias, targets)
    expected = cross_entropy(torch.nn.functional.linear(theirs, weight, bias), targets, reduction="none")
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=1e-9)
    (grad_ours,) = torch.autograd.grad((loss * upstream).sum(), ours)
    (grad_theirs,) = torch.autograd.grad((expected * upstream).sum(), theirs)
    torch.testing.assert_close(grad_ours, grad_theirs, rtol=1e-9, atol=1e-9)


def test_softmax_of_a_bfloat16_head_is_taken_in_float32() -> None:
    hidden = torch.eye(8, dtype=torch.bfloat16).requires_grad_()
    weight = torch.linspace(-40, 40, 64).reshape(8, 8).to(torch.bfloat16)
    targets = torch.arange(8)
    loss = objectives._cross_entropy(hidden, weight, None, targets)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, cross_entropy(weight.T.float(), targets, reduction="none"))


@pytest.mark.parametrize("name", ["final_logit_softcapping", "logits_scaling", "logit_scale"])
def test_a_model_that_changes_its_logits_afterwards_is_refused(tiny_model: Callable[..., Any], name: str) -> None:
    model = tiny_model("llama")
    setattr(model.config, name, 30.0)
    with pytest.raises(ModelError, match=name):
        next_token(model, collate(random_samples([5]), CPU))


def test_next_token_is_found_by_name() -> None:
    assert OBJECTIVES["next_token"] is next_token
