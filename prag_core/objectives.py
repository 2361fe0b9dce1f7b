"""What an adapter is trained to do: objectives by name, each a loss per document over one batch.

An objective takes the model with the adapters attached and a batch of one sample per document, and gives `loss_n`: the
mean over that document's own labelled tokens. The trainer sums it over documents and never averages or clips, so that
no document's gradient depends on its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from prag_core.errors import ModelError
from prag_core.records import IGNORED, Sample

LOGITS_AT_ONCE = {"cpu": 2**19, "cuda": 2**27}  # entries of the logits matrix that exist at a time: cache, memory


@dataclass(frozen=True, slots=True)
class Batch:
    """One sample of each of n documents, padded on the right. `m` runs over the labelled positions of all of them:
    where the prediction is made (in the flattened [n·t]), its target, and its document."""

    token_ids_nt: Tensor
    positions_m: Tensor
    targets_m: Tensor
    document_m: Tensor


Objective = Callable[[Any, Batch], Tensor]  # (model, batch) → loss_n, in nats a token


def collate(samples: Sequence[Sample], device: torch.device, multiple: int = 1) -> Batch:
    """Samples → a batch on `device`, its length rounded up to a multiple. The label of token t+1 is predicted at position t,
    so the first has none.

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
    fields: tuple[Tensor, ...] = (token_ids, document_m * length + time_m, labels[document_m, time_m], document_m)
    if device.type == "cuda":
        fields = tuple(tensor.pin_memory() for tensor in fields)
    return Batch(*(tensor.to(device, non_blocking=True) for tensor in fields))


def next_token(model: Any, batch: Batch) -> Tensor:
    """Cross-entropy of each labelled token given those before it: the published objective."""
    _refuse_scaled_logits(model.config)
    hidden_ntd = model.base_model(input_ids=batch.token_ids_nt, use_cache=False).last_hidden_state
    hidden_md = hidden_ntd.flatten(0, 1).index_select(0, batch.positions_m)
    head = model.get_output_embeddings()
    loss_m = _cross_entropy(hidden_md, head.weight, head.bias, batch.targets_m)
    none_n = loss_m.new_zeros(batch.token_ids_nt.shape[0])
    count_n = none_n.index_add(0, batch.document_m, torch.ones_like(loss_m))
    return none_n.index_add(0, batch.document_m, loss_m) / count_n


def _refuse_scaled_logits(config: Any) -> None:
    """Some families change the logits after the output head; their loss would be wrong in silence."""
    for name in ("final_logit_softcapping", "logits_scaling", "logit_scale"):
        if getattr(config, name, None) not in (None, 1, 1.0):
            raise ModelError(f"models with {name} are not supported by the next_token objective; use a Llama, Qwen or Mistral")


class _CrossEntropy(torch.autograd.Function):
    """Loss of each row through a frozen output head, a block of rows at a time, so that [m, vocabulary] never exists
    whole: forward leaves behind the gradient to the hidden states instead. Softmax is in float32 at least."""

    @staticmethod
    def forward(ctx: Any, hidden_md: Tensor, weight_vd: Tensor, bias_v: Tensor | None, targets_m: Tensor) -> Tensor:
        rows = max(128, LOGITS_AT_ONCE.get(hidden_md.device.type, 2**22) // weight_vd.shape[0])
        gradient_md = torch.empty_like(hidden_md)
        losses = []
        for start in range(0, len(hidden_md), rows):
            part = slice(start, start + rows)
            logits = torch.nn.functional.linear(hidden_md[part], weight_vd, bias_v)
            log_probs = logits.log_softmax(1, dtype=torch.float64 if logits.dtype == torch.float64 else torch.float32)
            target = targets_m[part].unsqueeze(1)
            losses.append(-log_probs.gather(1, target).squeeze(1))
            gradient = log_probs.exp_()
            gradient.scatter_add_(1, target, gradient.new_full((1, 1), -1.0).expand_as(target))
            torch.mm(gradient.to(weight_vd.dtype), weight_vd, out=gradient_md[part])
        ctx.save_for_backward(gradient_md)
        return torch.cat(losses)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient_md,) = ctx.saved_tensors
        return gradient_md * upstream[0].unsqueeze(1).to(gradient_md.dtype), None, None, None


_cross_entropy = cast(Callable[..., Tensor], _CrossEntropy.apply)

OBJECTIVES: dict[str, Objective] = {"next_token": next_token}
