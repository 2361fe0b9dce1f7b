"""The teacher of distillation: the frozen model's hidden states over the context that each sample names.

They are computed before any adapter is attached, once for all epochs, in batches of their own: the contexts are longer than the
samples. Only the states where labels are predicted are kept ([l, k, d], l layers, k labels); logits are made from them again
when they are needed. A document's states do not depend on its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from prag_core.models.lora import AdapterLayout
from prag_core.records import IGNORED, Sample
from prag_core.training.batch_size import choose_cohort_size
from prag_core.training.objectives import collate, label_states


@torch.no_grad()
def read_teacher(
    model: Any,
    layout: AdapterLayout,
    samples: Sequence[Sequence[Sample]],
    *,
    all_layers: bool = False,
    multiple: int = 1,
) -> list[list[Tensor]]:
    """Return, for each sample of each document, the teacher's hidden states where the sample's labels are predicted: of the last
    layer, or of all."""
    device = next(model.parameters()).device
    found = [[torch.empty(0)] * len(document) for document in samples]
    tasks = [
        (n, place, as_read(sample))
        for n, document in enumerate(samples)
        for place, sample in enumerate(document)
    ]
    tasks.sort(key=lambda task: -len(task[2].token_ids))
    for group in _groups(model, layout, tasks):
        batch = collate([sample for _, _, sample in group], device, multiple)
        states_lmd = label_states(model, batch, all_layers=all_layers)
        counts = [sum(label != IGNORED for label in sample.labels[1:]) for _, _, sample in group]
        for (n, place, _), states_lkd in zip(group, states_lmd.split_with_sizes(counts, 1), strict=True):
            found[n][place] = states_lkd
    return found


def as_read(sample: Sample) -> Sample:
    """Return the sample as its teacher reads it: the same labels at the same distance from the end."""
    assert sample.teacher_ids, "a sample without a teacher"
    first = next(t for t, label in enumerate(sample.labels) if t and label != IGNORED)
    before = len(sample.teacher_ids) - len(sample.token_ids) + first
    same = before > 0 and sample.teacher_ids[before:] == sample.token_ids[first:]
    assert same, "the teacher's tokens do not end as the sample's from its first label on"
    return Sample(token_ids=sample.teacher_ids, labels=(IGNORED,) * before + sample.labels[first:])


def _groups(
    model: Any, layout: AdapterLayout, tasks: Sequence[tuple[int, int, Sample]]
) -> Iterator[Sequence[tuple[int, int, Sample]]]:
    start = 0
    while start < len(tasks):
        size = choose_cohort_size(model, layout, len(tasks[start][2].token_ids))
        yield tasks[start : start + size]
        start += size
