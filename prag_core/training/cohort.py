"""Train one cohort: N documents stacked over one frozen base (`stacked_lora`), each exactly as if trained alone.

Each step takes every document's next sample, sums the documents' losses and makes one AdamW step, which is elementwise and
therefore N independent optimisers. Documents are ordered by their number of steps, so those still training are always the first
rows: one that is done leaves the batch, and nothing touches its factors again. Nothing is averaged or clipped over the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, overload

import torch
from torch import Tensor

from prag_core.config.schema import TrainingConfig
from prag_core.models.lora import AdapterLayout
from prag_core.records import AdapterFactors, Sample
from prag_core.training.distillation import read_teacher
from prag_core.training.kernels.cpu_attention import short_attention
from prag_core.training.kernels.cpu_norm import lean_norms
from prag_core.training.kernels.cpu_precision import fast_float32
from prag_core.training.kernels.host_copy import HostCopy
from prag_core.training.kernels.stacked_adamw import StackedAdamW
from prag_core.training.kernels.stacked_lora import StackedLora, document_factors
from prag_core.training.objectives import collate, objective_of

Observer = Callable[[int, list[int], list[Tensor], list[Tensor]], None]
LENGTH_MULTIPLE = {"cpu": 8, "cuda": 64}  # of a batch's length, so that shapes repeat
COMPILED_MULTIPLE = 64  # the same where each shape is compiled
COMPILED_SHAPES = 64  # numbers of documents and lengths, beyond which steps are not compiled


@dataclass(frozen=True, slots=True)
class TrainedDocument:
    """Factors in the training's dtype; `tokens` counts every token of every step; losses of the first and last step, in
    nats a token (each of its own sample, before that step's update)."""

    factors: AdapterFactors
    steps: int
    tokens: int
    loss_first: float
    loss_last: float


def train_cohort(
    model: Any,
    layout: AdapterLayout,
    initial: AdapterFactors,
    samples: Sequence[Sequence[Sample]],
    settings: TrainingConfig,
    observe: Observer | None = None,
) -> TrainedCohort:
    """Train document n on `samples[n]`, in order, `settings.epochs` times; all start from `initial`.

    The result equals training each alone with PEFT and torch's AdamW. `observe`, if given, is called before every update with
    the step, the documents in it (as indices of `samples`), their factors and the gradients (in `StackedLora.tensors` order).
    """
    assert all(samples) and all(len(s.token_ids) > 1 for document in samples for s in document), (
        "a document without samples"
    )
    order = sorted(range(len(samples)), key=lambda n: -len(samples[n]))
    steps = [len(samples[n]) * settings.epochs for n in order]
    parameter = next(model.parameters())
    device = parameter.device
    lora = StackedLora(layout, initial, len(samples), dtype=parameter.dtype, device=device)
    objective = objective_of(settings)
    optimiser = StackedAdamW(
        lora.tensors,
        lr=settings.learning_rate,
        beta1=settings.beta1,
        beta2=settings.beta2,
        eps=settings.eps,
        weight_decay=settings.weight_decay,
    )
    multiple = COMPILED_MULTIPLE if settings.compile else LENGTH_MULTIPLE.get(device.type, 1)
    losses: list[Tensor] = []
    states = _read_teacher(model, layout, samples, settings, device)
    with lora.attach(model), _made_fast(model, device, settings.compile):
        for step in range(steps[0]):
            active = [n for n, last in zip(order, steps, strict=True) if step < last]
            batch = collate([samples[n][step % len(samples[n])] for n in active], device, multiple)
            if states:
                batch = replace(
                    batch, teacher_lmd=torch.cat([states[n][step % len(samples[n])] for n in active], 1)
                )
            leaves = lora.activate(len(active))
            loss_n = objective(model, batch)
            gradients = list(torch.autograd.grad(loss_n.sum(), leaves))
            if observe is not None:
                observe(step, active, leaves, gradients)
            optimiser.step(gradients)
            losses.append(loss_n.detach())
    last_n = torch.stack([losses[count - 1][row] for row, count in enumerate(steps)])
    return TrainedCohort(
        layout, samples, settings.epochs, order, HostCopy([losses[0], last_n, *lora.unpadded()])
    )


def _read_teacher(
    model: Any,
    layout: AdapterLayout,
    samples: Sequence[Sequence[Sample]],
    settings: TrainingConfig,
    device: torch.device,
) -> list[list[Tensor]]:
    """Return the teacher's states of every sample; [] where samples have no teacher. It is never compiled, because each of its
    many lengths would be."""
    if not samples[0][0].teacher_ids:
        return []
    with _made_fast(model, device, compiled=False):
        return read_teacher(
            model,
            layout,
            samples,
            all_layers=settings.distill_hidden > 0,
            multiple=LENGTH_MULTIPLE.get(device.type, 1),
        )


@contextmanager
def _made_fast(model: Any, device: torch.device, compiled: bool) -> Iterator[None]:
    """Compute the frozen model faster while open: on the CPU float32 products, short attention and norms; compiled, which
    fuses norms by itself, where asked."""
    with ExitStack() as stack:
        stack.enter_context(fast_float32(device))
        stack.enter_context(short_attention(model))
        if compiled:
            body = model.base_model
            # private in name only: torch.compile's documentation sets limits here
            stack.enter_context(torch._dynamo.config.patch(recompile_limit=COMPILED_SHAPES))
            body.__dict__["forward"] = torch.compile(
                body.forward, dynamic=False
            )  # dynamic shapes run at half the speed
            stack.callback(body.__dict__.pop, "forward")
        else:
            stack.enter_context(lean_norms(model))
        yield


class TrainedCohort(Sequence[TrainedDocument]):
    """The trained documents of a cohort, in the order of its samples. Indexing waits for the device."""

    def __init__(
        self,
        layout: AdapterLayout,
        samples: Sequence[Sequence[Sample]],
        epochs: int,
        order: Sequence[int],
        copy: HostCopy,
    ) -> None:
        self._layout, self._samples, self._epochs, self._copy = layout, samples, epochs, copy
        self._rows = {n: row for row, n in enumerate(order)}

    def __len__(self) -> int:
        return len(self._samples)

    @overload
    def __getitem__(self, index: int) -> TrainedDocument: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[TrainedDocument]: ...
    def __getitem__(self, index: int | slice) -> TrainedDocument | Sequence[TrainedDocument]:
        if isinstance(index, slice):
            return [self[n] for n in range(len(self))[index]]
        n = range(len(self))[index]
        first_n, last_n, *factors = self._copy.wait()
        row, lengths = self._rows[n], [len(sample.token_ids) for sample in self._samples[n]]
        return TrainedDocument(
            factors=document_factors(self._layout, factors, row),
            steps=len(lengths) * self._epochs,
            tokens=sum(lengths) * self._epochs,
            loss_first=float(first_n[row]),
            loss_last=float(last_n[row]),
        )
