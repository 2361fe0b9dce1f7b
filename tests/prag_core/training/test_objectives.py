"""Objectives give each document's own mean loss. Oracle: torch's own losses over the model's whole logits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy, kl_div

from prag_core.records import IGNORED, Sample
from prag_core.training.distillation import as_read
from prag_core.training.kernels import blockwise_loss
from prag_core.training.objectives import OBJECTIVES, collate, distill, label_states, next_token

CPU = torch.device("cpu")


def random_samples(lengths: list[int], vocab_size: int = 64) -> list[Sample]:
    generator = torch.Generator().manual_seed(0)
    rows = [
        tuple(torch.randint(0, vocab_size, (length,), generator=generator).tolist()) for length in lengths
    ]
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
    monkeypatch.setattr(blockwise_loss, "LOGITS_AT_ONCE", {"cpu": 1})  # one position's softmax at a time
    model = tiny_model(family, torch.float64)
    samples = random_samples([90, 7, 130, 64, 160])
    batch = collate(samples, CPU)
    assert len(batch.targets_m) > blockwise_loss.PRODUCT_ROWS  # more than one block
    loss_n = next_token(model, batch)
    for loss, sample in zip(loss_n, samples, strict=True):
        logits = model(input_ids=torch.tensor([sample.token_ids])).logits
        expected = cross_entropy(logits[0, :-1], torch.tensor(sample.labels[1:]), ignore_index=IGNORED)
        torch.testing.assert_close(loss, expected, rtol=1e-9, atol=1e-9)


def with_teacher(samples: list[Sample], before: int = 20) -> list[Sample]:
    """Each sample with a teacher that reads `before` other tokens in place of its first two. The first label is the third's."""
    contexts = random_samples([before] * len(samples))
    return [
        Sample(s.token_ids, (IGNORED,) * 2 + s.labels[2:], context.token_ids[::-1] + s.token_ids[2:])
        for s, context in zip(samples, contexts, strict=True)
    ]


@pytest.mark.parametrize("hidden", [0.0, 0.7])
@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "mistral"])
def test_distill_is_the_mean_divergence_from_the_teacher_of_each_sample_alone(
    tiny_model: Callable[..., Any], family: str, hidden: float
) -> None:
    """Oracle: the whole logits and hidden states of both, as the model gives them, and torch's own divergence."""
    model = tiny_model(family, torch.float64)
    samples = with_teacher(random_samples([31, 7, 12]))
    teacher = collate([as_read(sample) for sample in samples], CPU)
    batch = replace(collate(samples, CPU), teacher_lmd=label_states(model, teacher, all_layers=hidden > 0))
    for loss, sample in zip(distill(model, batch, hidden=hidden), samples, strict=True):
        places = [t - 1 for t, label in enumerate(sample.labels) if label != IGNORED]
        ours, theirs = (
            model(input_ids=torch.tensor([ids]), output_hidden_states=True)
            for ids in (sample.token_ids, sample.teacher_ids)
        )
        moved = [place + 18 for place in places]
        log_q, log_p = ours.logits[0, places].log_softmax(1), theirs.logits[0, moved].log_softmax(1)
        expected = kl_div(log_q, log_p, reduction="none", log_target=True).sum(1)
        for one, other in zip(ours.hidden_states[1:], theirs.hidden_states[1:], strict=True):
            distance = (one[0, places] - other[0, moved]).abs().sum(1) / other[0, moved].abs().sum(1)
            expected = expected + hidden * distance / (len(ours.hidden_states) - 1)
        torch.testing.assert_close(loss, expected.mean(), rtol=1e-9, atol=1e-9)
        assert loss > 0.01


def test_objectives_are_found_by_name() -> None:
    assert {"next_token": next_token, "answer": next_token, "distill": distill} == OBJECTIVES
