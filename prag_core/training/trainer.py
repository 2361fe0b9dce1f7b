"""Train documents, a cohort at a time: documents of like step count and length together.

Nothing waits for a GPU while it trains: factors and losses travel to the host while the next cohort is under way.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice, starmap
from typing import Any, NamedTuple

import numpy as np
import torch

from prag_core.config.schema import TrainingConfig
from prag_core.models.lora import AdapterLayout
from prag_core.records import IGNORED, Adapter, AdapterFactors, Factors, Failure, Key, Sample
from prag_core.training.batch_size import choose_cohort_size
from prag_core.training.cohort import TrainedDocument, train_cohort
from prag_core.training.culprits import isolate, quarantined

logger = logging.getLogger(__name__)

WAITING_COHORTS = 4  # so many cohorts' documents are sorted by length together
FIRST_WAITING = 64  # documents that are looked at before a cohort's size is known


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
    settings: TrainingConfig,
) -> Iterator[Adapter | Failure]:
    """Train all of `items`, a cohort at a time, yielding as cohorts finish (not in the order given). Items are taken as they
    are needed, a few cohorts in advance.

    Documents of like step count and length share a cohort, so that padding is small. A document whose training
    diverged or raised comes back as a Failure of stage "train". A cohort too large for the GPU is halved and tried again.
    """
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    stream, waiting, limit = iter(items), list[TrainingItem](), settings.cohort_documents
    wanted = WAITING_COHORTS * limit if limit else FIRST_WAITING

    def train(cohort: Sequence[TrainingItem]) -> Sequence[TrainedDocument]:
        return train_cohort(model, layout, initial, [item.samples for item in cohort], settings)

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
            parts = isolate(train, cohort, _harmless(cohort[0]))
        except torch.OutOfMemoryError:
            if len(cohort) == 1:
                raise
            limit = len(cohort) // 2
            logger.warning("%d documents at once do not fit the GPU's memory; trying %d", len(cohort), limit)
            torch.cuda.empty_cache()
            continue
        yield from finished
        finished = chain.from_iterable(starmap(_records, parts))
        waiting, wanted = waiting[len(cohort) :], WAITING_COHORTS * len(cohort)
    yield from finished


def _fitting_size(model: Any, layout: AdapterLayout, waiting: Sequence[TrainingItem]) -> int:
    """Return how many of the first documents fit together: as their own longest sample allows, not the longest of all."""

    def allowed(items: Sequence[TrainingItem]) -> int:
        return choose_cohort_size(
            model, layout, max(len(sample.token_ids) for item in items for sample in item.samples)
        )

    size = allowed(waiting[:1])
    return min(size, allowed(waiting[:size]))


def _harmless(like: TrainingItem) -> TrainingItem:
    """Return an item of two tokens that every model knows; with a teacher if the other has one."""
    tokens = (0, 1)
    sample = Sample(tokens, (IGNORED, 1), tokens if like.samples[0].teacher_ids else ())
    return TrainingItem(("", 0), "", [sample])


def _records(
    cohort: Sequence[TrainingItem], trained: Sequence[TrainedDocument] | Exception
) -> Iterator[Adapter | Failure]:
    if isinstance(trained, Exception):
        return (quarantined(item.key, item.content_hash, "train", trained) for item in cohort)
    return map(_record, cohort, trained)


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
