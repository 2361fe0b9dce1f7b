"""Training objectives by name, each a loss per document over one batch.

An objective takes the model with the adapters attached and a batch of one sample per document, and gives `loss_n`: the
mean over that document's own labelled tokens. The trainer sums it over documents and never averages or clips, so that
no document's gradient depends on its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from prag_core.config.schema import TrainingConfig
from prag_core.records import IGNORED, Sample
from prag_core.training.kernels.blockwise_loss import cross_entropy, divergence


@dataclass(frozen=True, slots=True)
class Batch:
    """One sample of each of n documents, padded on the right. `m` runs over the labelled positions of all of them:
    where the prediction is made (in the flattened [n·t]), its target, its document, and where the samples have a
    teacher, its hidden states there (`distillation.read_teacher`; l runs over layers)."""

    token_ids_nt: Tensor
    positions_m: Tensor
    targets_m: Tensor
    document_m: Tensor
    teacher_lmd: Tensor | None = None


Objective = Callable[..., Tensor]  # (model, batch) → loss_n, in nats a token


def collate(samples: Sequence[Sample], device: torch.device, multiple: int = 1) -> Batch:
    """Make a batch of samples on `device`, its length rounded up to a multiple. The label of token t+1 is predicted at position
    t, so the first has none.

    Padding needs no mask: attention is causal, and no label is taken there.
    """
    length = max(len(sample.token_ids) for sample in samples)
    length += -length % multiple
    token_ids = torch.zeros(len(samples), length, dtype=torch.long)
    labels = torch.full((len(samples), length), IGNORED, dtype=torch.long)
    for row, sample in enumerate(samples):
        token_ids[row, : len(sample.token_ids)] = torch.tensor(sample.token_ids)
        labels[row, : len(sample.labels) - 1] = torch.tensor(sample.labels[1:])
    document_m, time_m = (labels != IGNORED).nonzero(as_tuple=True)
    fields: tuple[Tensor, ...] = (
        token_ids,
        document_m * length + time_m,
        labels[document_m, time_m],
        document_m,
    )
    if device.type == "cuda":
        fields = tuple(tensor.pin_memory() for tensor in fields)
    return Batch(*(tensor.to(device, non_blocking=True) for tensor in fields))


def next_token(model: Any, batch: Batch) -> Tensor:
    """Cross-entropy of each labelled token given those before it: the published objective."""
    head = model.get_output_embeddings()
    hidden_md = label_states(model, batch)[-1]
    return _document_means(cross_entropy(hidden_md, head.weight, head.bias, batch.targets_m), batch)


def distill(model: Any, batch: Batch, *, hidden: float = 0.0) -> Tensor:
    """Divergence from what the frozen model predicts over its own context, at each labelled position; and `hidden` times the
    distance from its hidden states, as a share of their length, averaged over layers (Deep Context Distillation)."""
    assert batch.teacher_lmd is not None, "samples without a teacher"
    head = model.get_output_embeddings()
    states_lmd = label_states(model, batch, all_layers=hidden > 0)
    loss_m = divergence(states_lmd[-1], head.weight, head.bias, batch.teacher_lmd[-1])
    if hidden > 0:
        wide = loss_m.dtype
        distance_lm = (states_lmd - batch.teacher_lmd).abs().sum(2, dtype=wide) / batch.teacher_lmd.abs().sum(
            2, dtype=wide
        )
        loss_m = loss_m + hidden * distance_lm.mean(0)
    return _document_means(loss_m, batch)


def label_states(model: Any, batch: Batch, *, all_layers: bool = False) -> Tensor:
    """Hidden states where labels are predicted, [layers, m, d]: those that the output head reads, alone or after the outputs of
    all layers but the last."""
    output = model.base_model(input_ids=batch.token_ids_nt, use_cache=False, output_hidden_states=all_layers)
    layers = output.hidden_states[1:] if all_layers else (output.last_hidden_state,)
    return torch.stack([states_ntd.flatten(0, 1).index_select(0, batch.positions_m) for states_ntd in layers])


def _document_means(loss_m: Tensor, batch: Batch) -> Tensor:
    none_n = loss_m.new_zeros(batch.token_ids_nt.shape[0])
    count_n = none_n.index_add(0, batch.document_m, torch.ones_like(loss_m))
    return none_n.index_add(0, batch.document_m, loss_m) / count_n


# "answer" differs from "next_token" in its samples alone: they have labels at the answers only.
OBJECTIVES: dict[str, Objective] = {"next_token": next_token, "answer": next_token, "distill": distill}


def objective_of(settings: TrainingConfig) -> Objective:
    """The objective that the settings name, with its own settings."""
    objective = OBJECTIVES[settings.objective]
    return partial(objective, hidden=settings.distill_hidden) if objective is distill else objective
