"""Acceptance: train an adapter, examine it, and where it fails the exam train again for longer.

The exam is of what is stored: the factors as the bank's tier gives them back. A document whose score is below the threshold is
trained again from the initial adapter with twice the epochs, up to `acceptance.max_retries` times. A document that fails all of
them keeps its last adapter with `accepted=False`: snapshots call it text_only, and questions are answered from its text. One
whose exam raises is a failure, and the others' exam goes on without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from prag_core.bank.codec import decode, encode
from prag_core.config.schema import AcceptanceConfig, Tier, TrainingConfig
from prag_core.models.lora import AdapterLayout
from prag_core.records import IGNORED, Adapter, AdapterFactors, Failure, Key, Sample
from prag_core.training.batch_size import choose_cohort_size
from prag_core.training.culprits import isolate, quarantined
from prag_core.training.exam import Spellings, examine
from prag_core.training.trainer import TrainingItem, train_documents

EPOCHS_FACTOR = 2  # from one training to the next
HARMLESS: Sequence[Spellings] = (
    (Sample((0, 1), (IGNORED, 1)),),
)  # questions of tokens that every model knows


class Candidate(NamedTuple):
    """A document to train, and the questions of its adapter's exam."""

    item: TrainingItem
    questions: Sequence[Spellings]


class _Examinee(NamedTuple):
    """An adapter before its exam."""

    adapter: Adapter
    questions: Sequence[Spellings]


def train_examined(
    model: Any,
    layout: AdapterLayout,
    initial: AdapterFactors,
    candidates: Iterable[Candidate],
    training: TrainingConfig,
    acceptance: AcceptanceConfig,
    tier: Tier,
) -> Iterator[Adapter | Failure]:
    """Train and examine all of `candidates`, and again those that fail. Adapters come with score and verdict, in no fixed order.
    Candidates are taken as training needs them."""
    assert acceptance.threshold is not None, "an exam without a threshold"
    for attempt in range(acceptance.max_retries + 1):
        settings = replace(training, epochs=training.epochs * EPOCHS_FACTOR**attempt)
        waiting: dict[Key, Candidate] = {}
        again: list[Candidate] = []
        records = train_documents(model, layout, initial, _items(candidates, waiting), settings)
        for record in _examined(model, layout, initial, records, waiting, training.cohort_documents, tier):
            candidate = waiting.pop(record.key)
            if isinstance(record, Failure):
                yield record
                continue
            accepted = record.score is not None and record.score >= acceptance.threshold
            if accepted or attempt == acceptance.max_retries:
                yield replace(record, accepted=accepted)
            else:
                again.append(candidate)
        candidates = again


def _items(candidates: Iterable[Candidate], waiting: dict[Key, Candidate]) -> Iterator[TrainingItem]:
    """Yield each candidate's item for the trainer, and keep the candidate in `waiting` until its adapter comes."""
    for candidate in candidates:
        waiting[candidate.item.key] = candidate
        yield candidate.item


def _examined(
    model: Any,
    layout: AdapterLayout,
    initial: AdapterFactors,
    records: Iterable[Adapter | Failure],
    waiting: Mapping[Key, Candidate],
    limit: int | None,
    tier: Tier,
) -> Iterator[Adapter | Failure]:
    """Yield the records, adapters with their scores. As many are examined at a time as fit for training, which takes more."""

    def score(group: Sequence[_Examinee]) -> list[Adapter]:
        factors = [_as_stored(adapter.factors, layout, tier) for adapter, _ in group]
        scores = examine(model, layout, factors, [questions for _, questions in group])
        return [replace(one.adapter, score=score) for one, score in zip(group, scores, strict=True)]

    def scored(group: Sequence[_Examinee]) -> Iterator[Adapter | Failure]:
        harmless = _Examinee(replace(group[0].adapter, factors=initial), HARMLESS)
        for part, adapters in isolate(score, group, harmless):
            if isinstance(adapters, Exception):
                yield from (quarantined(a.key, a.content_hash, "train", adapters) for a, _ in part)
            else:
                yield from adapters

    group, longest = list[_Examinee](), 1
    for record in records:
        if isinstance(record, Failure):
            yield record
            continue
        group.append(_Examinee(record, waiting[record.key].questions))
        longest = max(longest, *(len(sample.token_ids) for ways in group[-1].questions for sample in ways))
        if len(group) >= (limit or choose_cohort_size(model, layout, longest)):
            yield from scored(group)
            group, longest = [], 1
    if group:
        yield from scored(group)


def _as_stored(factors: AdapterFactors, layout: AdapterLayout, tier: Tier) -> AdapterFactors:
    return factors if tier is Tier.fp32 else decode(encode(factors, layout, tier), layout, tier)
