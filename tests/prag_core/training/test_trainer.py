"""Cohorts are made of like documents, and every document comes back once, as if it had been trained alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from prag_core.config.schema import TrainingConfig
from prag_core.models.lora import check_factors
from prag_core.records import IGNORED, Adapter, Failure, Sample
from prag_core.training import trainer
from prag_core.training.cohort import TrainedCohort, train_cohort
from prag_core.training.objectives import OBJECTIVES, Batch, next_token
from prag_core.training.trainer import TrainingItem, train_documents
from tests.prag_core.training.documents import assert_same, random_samples, start


def items(samples: Sequence[Sequence[Sample]]) -> list[TrainingItem]:
    return [TrainingItem((f"d{n}", 0), f"hash{n}", document) for n, document in enumerate(samples)]


@pytest.mark.parametrize("cohort_documents", [1, 2, None])
def test_every_document_comes_back_once_as_if_alone(
    tiny_model: Callable[..., Any], cohort_documents: int | None
) -> None:
    model = tiny_model("llama", torch.float64)
    layout, initial = start(model)
    samples = random_samples()
    settings = TrainingConfig(learning_rate=1e-2, cohort_documents=cohort_documents)
    adapters = {
        record.doc_id: record
        for record in train_documents(model, layout, initial, iter(items(samples)), settings)
    }
    assert sorted(adapters) == ["d0", "d1", "d2", "d3", "d4"]
    for n, document in enumerate(samples):
        adapter = adapters[f"d{n}"]
        assert isinstance(adapter, Adapter)
        (alone,) = train_cohort(model, layout, initial, [document], settings)
        assert (adapter.key, adapter.content_hash) == ((f"d{n}", 0), f"hash{n}")
        assert (adapter.steps, adapter.tokens) == (alone.steps, alone.tokens)
        assert adapter.loss_last == pytest.approx(alone.loss_last, rel=1e-9)
        check_factors(adapter.factors, layout)
        for name, pair in adapter.factors.items():
            for ours, theirs in zip(pair, alone.factors[name], strict=True):
                assert ours.dtype == np.float32
                np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_cohorts_are_of_like_documents_and_of_the_size_set(
    tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model("llama")
    layout, initial = start(model)
    samples = random_samples([(8, 8), (30, 30), (9, 9), (31, 31), (5, 5, 5)])
    cohorts = record_cohorts(monkeypatch)
    list(train_documents(model, layout, initial, items(samples), TrainingConfig(cohort_documents=2)))
    assert cohorts == [[(5, 5, 5), (31, 31)], [(30, 30), (9, 9)], [(8, 8)]]


def test_items_are_taken_only_some_cohorts_ahead(tiny_model: Callable[..., Any]) -> None:
    model = tiny_model("llama")
    layout, initial = start(model)
    taken: list[int] = []

    def stream() -> Iterator[TrainingItem]:
        for n, item in enumerate(items(random_samples([(5,)] * 40))):
            taken.append(n)
            yield item

    records = train_documents(model, layout, initial, stream(), TrainingConfig(cohort_documents=2))
    next(records)
    assert (
        len(taken) <= (trainer.WAITING_COHORTS + 1) * 2
    )  # two cohorts were trained: the first's records are out
    assert len(list(records)) == 39 and len(taken) == 40


def test_one_long_document_does_not_make_every_cohort_small(
    tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model("llama")
    layout, initial = start(model)
    monkeypatch.setattr(
        trainer, "choose_cohort_size", lambda model, layout, max_tokens: max(1, 40 // max_tokens)
    )
    cohorts = record_cohorts(monkeypatch)
    list(
        train_documents(
            model,
            layout,
            initial,
            items(random_samples([(9,), (10,), (10,), (40,), (10,)])),
            TrainingConfig(),
        )
    )
    assert cohorts == [[(40,)], [(10,), (10,), (10,), (9,)]]


def test_a_cohort_that_does_not_fit_is_halved(
    tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model("llama")
    layout, initial = start(model)
    cohorts = record_cohorts(monkeypatch, largest=2)
    records = list(
        train_documents(model, layout, initial, items(random_samples()), TrainingConfig(cohort_documents=5))
    )
    assert {record.doc_id for record in records} == {"d0", "d1", "d2", "d3", "d4"}
    assert [len(cohort) for cohort in cohorts] == [5, 2, 2, 1]
    record_cohorts(monkeypatch, largest=0)
    with pytest.raises(torch.OutOfMemoryError):
        list(train_documents(model, layout, initial, items(random_samples()), TrainingConfig()))


def record_cohorts(monkeypatch: pytest.MonkeyPatch, largest: int = 99) -> list[list[tuple[int, ...]]]:
    """Note the sample lengths of every cohort trained; more than `largest` documents do not fit."""
    cohorts: list[list[tuple[int, ...]]] = []

    def spy(
        model: Any, layout: Any, initial: Any, samples: Sequence[Sequence[Sample]], *rest: Any
    ) -> TrainedCohort:
        cohorts.append([tuple(len(s.token_ids) for s in document) for document in samples])
        if len(samples) > largest:
            raise torch.OutOfMemoryError("too many")
        return train_cohort(model, layout, initial, samples, *rest)

    monkeypatch.setattr(trainer, "train_cohort", spy)
    return cohorts


def test_a_document_that_diverges_is_quarantined_and_harms_no_other(
    tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def poisoned(model: Any, batch: Batch) -> torch.Tensor:
        factor_n = [
            torch.nan if tuple(row[: len(bad)]) == bad else 1.0 for row in batch.token_ids_nt.tolist()
        ]
        return next_token(model, batch) * torch.tensor(factor_n)

    model = tiny_model("llama", torch.float64)
    layout, initial = start(model)
    samples = random_samples()
    bad = samples[2][1].token_ids
    monkeypatch.setitem(OBJECTIVES, "poisoned", poisoned)
    healthy, records = (
        {
            r.doc_id: r
            for r in train_documents(model, layout, initial, items(samples), TrainingConfig(objective=name))
        }
        for name in ("next_token", "poisoned")
    )
    failure = records.pop("d2")
    assert isinstance(failure, Failure)
    assert (failure.key, failure.content_hash, failure.stage) == (("d2", 0), "hash2", "train")
    assert "diverged" in failure.reason and "training.learning_rate" in failure.reason
    for doc_id, record in records.items():
        other = healthy[doc_id]
        assert isinstance(record, Adapter) and isinstance(other, Adapter)
        assert_same(record.factors, other.factors)


def test_threads_are_set_for_training(
    tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model("llama")
    layout, initial = start(model)
    asked: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    list(train_documents(model, layout, initial, items(random_samples([(5,)])), TrainingConfig(threads=3)))
    list(train_documents(model, layout, initial, items(random_samples([(5,)])), TrainingConfig()))
    assert asked == [3]


def test_a_document_that_raises_is_quarantined_and_its_cohort_is_trained(
    tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model("llama")
    layout, initial = start(model)
    samples = random_samples([(5,), (6,), (7,), (8,)])
    settings = TrainingConfig(cohort_documents=4)
    healthy = {r.doc_id: r for r in train_documents(model, layout, initial, items(samples), settings)}
    poisoned = [*samples]
    poisoned[1] = [Sample((9999, 1, 2), (9999, 1, 2))]  # no token of the model's
    records = {r.doc_id: r for r in train_documents(model, layout, initial, items(poisoned), settings)}
    failure = records.pop("d1")
    assert isinstance(failure, Failure) and (failure.stage, failure.content_hash) == ("train", "hash1")
    assert failure.reason.startswith("IndexError: index out of range")
    assert sorted(records) == ["d0", "d2", "d3"]
    for name, record in records.items():
        same = healthy[name]
        assert isinstance(record, Adapter) and isinstance(same, Adapter)
        assert record.loss_last == pytest.approx(same.loss_last, rel=1e-5)


def test_a_document_that_raises_is_found_among_those_that_have_a_teacher(
    tiny_model: Callable[..., Any],
) -> None:
    model = tiny_model("llama")
    layout, initial = start(model)
    samples = [[Sample((n, 2, 3, 4), (IGNORED, IGNORED, 3, 4), (n, 5, 6, 3, 4))] for n in (7, 9999, 8)]
    settings = TrainingConfig(objective="distill", cohort_documents=3)
    records = {r.doc_id: r for r in train_documents(model, layout, initial, items(samples), settings)}
    assert {name: type(record) for name, record in records.items()} == {
        "d0": Adapter,
        "d1": Failure,
        "d2": Adapter,
    }
