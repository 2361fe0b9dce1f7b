"""Samples → adapters: documents trained together, each exactly as if trained alone.

A cohort is N documents stacked over one frozen base (`stacked_lora`). Each step takes every document's next sample, sums
the documents' losses and makes one AdamW step, which is elementwise and therefore N independent optimisers. Documents
are ordered by their number of steps, so those still training are always the first rows: one that is done leaves the
batch, and nothing touches its factors again. Nothing is averaged or clipped over the batch.

Nothing waits for a GPU while it trains: factors and losses travel to the host while the next cohort is under way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np
import torch
from torch import Tensor
from torch.optim.adamw import adamw

from prag_core.errors import ConfigError
from prag_core.models.lora import AdapterLayout
from prag_core.records import Adapter, AdapterFactors, Factors, Failure, Key, Sample
from prag_core.training.batch_size import choose_cohort_size
from prag_core.training.distillation import read_teacher
from prag_core.training.kernels.cpu_attention import short_attention
from prag_core.training.kernels.cpu_precision import fast_float32
from prag_core.training.kernels.host_copy import HostCopy
from prag_core.training.kernels.stacked_lora import StackedLora, document_factors
from prag_core.training.objectives import OBJECTIVES, Objective, collate

if TYPE_CHECKING:
    from prag_core.config.schema import TrainingConfig

Observer = Callable[[int, list[int], list[Tensor], list[Tensor]], None]
LENGTH_MULTIPLE = {"cpu": 8, "cuda": 64}  # of a batch's length, so that shapes repeat
COMPILED_MULTIPLE = 64  # the same where each shape is compiled
COMPILED_SHAPES = 64  # numbers of documents and lengths, beyond which steps are not compiled
WAITING_COHORTS = 4  # so many cohorts' documents are sorted by length together
FIRST_WAITING = 64  # documents that are looked at before a cohort's size is known


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """How a document is trained: the checked form of the `training` section."""

    objective: str = "next_token"
    distill_hidden: float = 0.0
    epochs: int = 1
    learning_rate: float = 3e-4
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.01
    cohort_documents: int | None = None
    threads: int | None = None
    compile: bool = False

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise ConfigError(f"training.objective={self.objective}: known are {', '.join(OBJECTIVES)}")
        for name, holds, expected in (
            ("distill_hidden", 0 <= self.distill_hidden < math.inf, "at least 0"),
            ("epochs", self.epochs >= 1, "at least 1"),
            ("learning_rate", 0 < self.learning_rate < math.inf, "above 0"),
            ("beta1", 0 <= self.beta1 < 1, "from 0 to below 1"),
            ("beta2", 0 <= self.beta2 < 1, "from 0 to below 1"),
            ("eps", 0 < self.eps < math.inf, "above 0"),
            ("weight_decay", 0 <= self.weight_decay < math.inf, "at least 0"),
            (
                "cohort_documents",
                self.cohort_documents is None or self.cohort_documents >= 1,
                "at least 1, or null",
            ),
            ("threads", self.threads is None or self.threads >= 1, "at least 1, or null"),
        ):
            if not holds:
                raise ConfigError(f"training.{name}={getattr(self, name)}: must be {expected}")

    @property
    def loss(self) -> Objective:
        """The objective with its own settings."""
        objective = OBJECTIVES[self.objective]
        return partial(objective, hidden=self.distill_hidden) if self.objective == "distill" else objective

    @classmethod
    def from_config(cls, config: TrainingConfig) -> TrainingSettings:
        return cls(**{field.name: getattr(config, field.name) for field in fields(cls)})


@dataclass(frozen=True, slots=True)
class TrainedDocument:
    """Factors in the training's dtype; `tokens` counts every token of every step; losses of the first and last step, in
    nats a token (each of its own sample, before that step's update)."""

    factors: AdapterFactors
    steps: int
    tokens: int
    loss_first: float
    loss_last: float


class TrainingItem(NamedTuple):
    """A document to train: its key, its content hash, and one epoch of samples."""

    key: Key
    content_hash: str
    samples: Sequence[Sample]


def train_documents(
    model: Any,
    layout: AdapterLayout,
    initial: AdapterFactors,
    items: Iterable[TrainingItem],
    settings: TrainingSettings,
) -> Iterator[Adapter | Failure]:
    """Train all of `items`, a cohort at a time, yielding as cohorts finish (not in the order given). Items are taken as they
    are needed, some cohorts ahead.

    Documents of like step count and length share a cohort, so that padding is small. A document whose training
    diverged comes back as a Failure of stage "train". A cohort too large for the GPU is halved and tried again.
    """
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    stream, waiting, limit = iter(items), list[TrainingItem](), settings.cohort_documents
    wanted = WAITING_COHORTS * limit if limit else FIRST_WAITING
    finished: Iterable[Adapter | Failure] = ()  # of the cohort before: it is on its way to the host
    while True:
        waiting += islice(stream, max(0, wanted - len(waiting)))
        if not waiting:
            break
        waiting.sort(
            key=lambda item: (len(item.samples), sum(len(s.token_ids) for s in item.samples)), reverse=True
        )
        cohort = waiting[: limit or _fitting_size(model, layout, waiting)]
        try:
            documents = train_cohort(model, layout, initial, [item.samples for item in cohort], settings)
        except torch.OutOfMemoryError:
            if len(cohort) == 1:
                raise
            limit = len(cohort) // 2
            torch.cuda.empty_cache()
            continue
        yield from finished
        finished = map(_record, cohort, documents)
        waiting, wanted = waiting[len(cohort) :], WAITING_COHORTS * len(cohort)
    yield from finished


def _fitting_size(model: Any, layout: AdapterLayout, waiting: Sequence[TrainingItem]) -> int:
    """How many of the first documents fit together: as their own longest sample allows, not the longest of all."""

    def allowed(items: Sequence[TrainingItem]) -> int:
        return choose_cohort_size(
            model, layout, max(len(sample.token_ids) for item in items for sample in item.samples)
        )

    size = allowed(waiting[:1])
    return min(size, allowed(waiting[:size]))


def train_cohort(
    model: Any,
    layout: AdapterLayout,
    initial: AdapterFactors,
    samples: Sequence[Sequence[Sample]],
    settings: TrainingSettings,
    observe: Observer | None = None,
) -> TrainedCohort:
    """Train document n on `samples[n]`, in order, `settings.epochs` times; all start from `initial`.

    Equal to training each alone with PEFT and torch's AdamW. `observe`, if given, is called before every update with the
    step, the documents in it (as indices of `samples`), their factors and the gradients (in `StackedLora.tensors` order).
    """
    assert all(samples) and all(len(s.token_ids) > 1 for document in samples for s in document), (
        "a document without samples"
    )
    order = sorted(range(len(samples)), key=lambda n: -len(samples[n]))
    steps = [len(samples[n]) * settings.epochs for n in order]
    parameter = next(model.parameters())
    device = parameter.device
    lora = StackedLora(layout, initial, len(samples), dtype=parameter.dtype, device=device)
    optimiser = _StackedAdamW(lora.tensors, settings)
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
            loss_n = settings.loss(model, batch)
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
    settings: TrainingSettings,
    device: torch.device,
) -> list[list[Tensor]]:
    """The teacher's states of every sample, or nothing where samples have no teacher. Never compiled: its many lengths would
    each be."""
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
    """The frozen model, computed faster: on the CPU float32 products and short attention, and where asked, compiled."""
    with ExitStack() as stack:
        stack.enter_context(fast_float32(device))
        stack.enter_context(short_attention(model))
        if compiled:
            body = model.base_model
            # private in name only: torch.compile's documentation sets limits here
            stack.enter_context(torch._dynamo.config.patch(recompile_limit=COMPILED_SHAPES))
            body.__dict__["forward"] = torch.compile(
                body.forward, dynamic=False
            )  # for shapes unknown it is half as fast
            stack.callback(body.__dict__.pop, "forward")
        yield


class TrainedCohort(Sequence[TrainedDocument]):
    """What each document of a cohort became, in the order of its samples. Looking at one waits for the device."""

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


class _StackedAdamW:
    """Torch's own AdamW over the first rows of stacked tensors; the other rows and their moments stay as they are."""

    def __init__(self, tensors: Sequence[Tensor], settings: TrainingSettings) -> None:
        self.tensors, self.settings = tensors, settings
        self.mean = [torch.zeros_like(tensor) for tensor in tensors]
        self.square = [torch.zeros_like(tensor) for tensor in tensors]
        self.steps = [torch.zeros((), dtype=torch.float32, device=tensor.device) for tensor in tensors]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor]) -> None:
        rows = len(gradients[0])
        adamw(
            [tensor[:rows] for tensor in self.tensors],
            list(gradients),
            [tensor[:rows] for tensor in self.mean],
            [tensor[:rows] for tensor in self.square],
            [],
            self.steps,
            fused=True,
            amsgrad=False,
            beta1=self.settings.beta1,
            beta2=self.settings.beta2,
            lr=self.settings.learning_rate,
            weight_decay=self.settings.weight_decay,
            eps=self.settings.eps,
            maximize=False,
        )


def _record(item: TrainingItem, document: TrainedDocument) -> Adapter | Failure:
    factors = {
        name: Factors(*(f.astype(np.float32, copy=False) for f in pair))
        for name, pair in document.factors.items()
    }
    if not all(np.isfinite(factor).all() for pair in factors.values() for factor in pair):
        reason = f"training diverged (loss {document.loss_first:.3g} → {document.loss_last:.3g}); lower training.learning_rate"
        return Failure(*item.key, item.content_hash, stage="train", reason=reason, attempts=1)
    return Adapter(
        *item.key,
        item.content_hash,
        factors,
        steps=document.steps,
        tokens=document.tokens,
        loss_first=document.loss_first,
        loss_last=document.loss_last,
    )
