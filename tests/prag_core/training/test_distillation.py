"""The teacher's states are those of the bare model over each sample's own context, whatever else is read with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from prag_core.models.lora import layout_of
from prag_core.records import IGNORED, Sample
from prag_core.training import distillation
from prag_core.training.distillation import as_read, read_teacher
from prag_core.training.objectives import collate

SAMPLES = [
    [
        Sample((1, 2, 3, 4), (IGNORED, IGNORED, 3, 4), (9, 8, 7, 6, 2, 3, 4)),
        Sample((5, 6), (IGNORED, 6), (5, 6)),
    ],
    [Sample((1, 7, 8, 9, 10), (IGNORED, 7, IGNORED, 9, 10), (3, 7, 8, 9, 10))],
    [Sample((4, 4, 4), (IGNORED, IGNORED, 4), (2, 4))],
]


def test_a_teacher_reads_the_same_labels_at_the_same_distance_from_the_end() -> None:
    read = as_read(SAMPLES[0][0])
    assert read == Sample((9, 8, 7, 6, 2, 3, 4), (IGNORED,) * 5 + (3, 4))
    for sample in (sample for document in SAMPLES for sample in document):
        assert collate([as_read(sample)], torch.device("cpu")).targets_m.tolist() == [
            t for t in sample.labels if t != IGNORED
        ]


@pytest.mark.parametrize("teacher_ids", [(), (9, 3, 5), (3, 4)])
def test_a_teacher_that_does_not_end_as_the_sample_is_refused(teacher_ids: tuple[int, ...]) -> None:
    with pytest.raises(AssertionError, match="teacher"):
        as_read(Sample((1, 2, 3, 4), (IGNORED, IGNORED, 3, 4), teacher_ids))


@pytest.mark.parametrize("at_once", [1, 2, 9])
@pytest.mark.parametrize("all_layers", [False, True])
def test_states_are_the_bare_models_at_the_labels_however_many_are_read_at_once(
    tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, at_once: int, all_layers: bool
) -> None:
    monkeypatch.setattr(distillation, "choose_cohort_size", lambda *_: at_once)
    model = tiny_model("llama", torch.float64)
    layout = layout_of(model, rank=2, alpha=32.0, targets=["down_proj"])
    states = read_teacher(model, layout, SAMPLES, all_layers=all_layers, multiple=4)
    for document, found in zip(SAMPLES, states, strict=True):
        for sample, states_lkd in zip(document, found, strict=True):
            output = model.base_model(torch.tensor([sample.teacher_ids]), output_hidden_states=True)
            moved = len(sample.teacher_ids) - len(sample.token_ids)
            places = [t + moved - 1 for t, label in enumerate(sample.labels) if label != IGNORED]
            layers = output.hidden_states[1:] if all_layers else [output.last_hidden_state]
            expected = torch.stack([layer[0, places] for layer in layers])
            torch.testing.assert_close(states_lkd, expected, rtol=1e-9, atol=1e-9)
            assert not states_lkd.requires_grad


def test_groups_are_chosen_by_the_longest_that_is_left(
    tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def choose(model: Any, layout: Any, tokens: int) -> int:
        asked.append(tokens)
        return 2

    monkeypatch.setattr(distillation, "choose_cohort_size", choose)
    model = tiny_model("llama")
    read_teacher(model, layout_of(model, rank=2, alpha=32.0, targets=["down_proj"]), SAMPLES)
    assert asked == [7, 2]
