"""Who fails the exam is trained again from the start, for longer, and marked when that does not help either."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from prag_core.bank import decode, encode
from prag_core.config.schema import AcceptanceConfig, Tier, TrainingConfig
from prag_core.models.lora import AdapterLayout, initial_factors, layout_of
from prag_core.records import IGNORED, Adapter, AdapterFactors, Factors, Failure, Sample
from prag_core.training.acceptance import Candidate, train_examined
from prag_core.training.exam import examine
from prag_core.training.trainer import TrainingItem, train_documents

TRAINING = TrainingConfig(learning_rate=1e-2)
RETRIES = AcceptanceConfig(threshold=1.0, max_retries=6)
Start = tuple[Any, AdapterLayout, AdapterFactors]


@pytest.fixture
def start(tiny_model: Callable[..., Any]) -> Start:
    model = tiny_model("llama")
    layout = layout_of(model, rank=2, alpha=32.0, targets=["gate_proj", "up_proj", "down_proj"])
    return model, layout, initial_factors(layout, seed=1)


def candidate(name: str, *questions: Sequence[int]) -> Candidate:
    """A document of one sample a question; the last two tokens of each are its answer."""
    samples = [
        Sample(tuple(tokens), (IGNORED,) * (len(tokens) - 2) + tuple(tokens[-2:])) for tokens in questions
    ]
    return Candidate(TrainingItem((name, 0), f"hash of {name}", samples), [[sample] for sample in samples])


LEARNABLE = candidate("learnable", (3, 14, 15, 9, 26, 5))
TORN = candidate("torn", (9, 3, 2, 38, 4, 1), (9, 3, 2, 38, 7, 8))  # one question with two answers


def run(
    start: Start, candidates: Sequence[Candidate], acceptance: AcceptanceConfig, **more: Any
) -> dict[str, Adapter]:
    options: dict[str, Any] = {"training": TRAINING, "tier": Tier.fp32} | more
    records = list(train_examined(*start, candidates, acceptance=acceptance, **options))
    assert all(isinstance(record, Adapter) for record in records) and len(records) == len(candidates)
    return {record.doc_id: record for record in records if isinstance(record, Adapter)}


def train(start: Start, one: Candidate, epochs: int) -> Adapter:
    (record,) = train_documents(*start, [one.item], replace(TRAINING, epochs=epochs))
    assert isinstance(record, Adapter)
    return record


def test_a_retry_is_a_training_from_the_start_with_twice_the_epochs_until_the_exam_is_passed(
    start: Start,
) -> None:
    found = run(start, [TORN, LEARNABLE], RETRIES)["learnable"]
    assert (found.accepted, found.score) == (True, 1.0)
    assert found.steps in {2**n for n in range(1, RETRIES.max_retries + 1)}, "it needed to be tried again"
    alone = train(start, LEARNABLE, found.steps)
    assert (alone.steps, alone.tokens) == (found.steps, found.tokens)
    for name, pair in alone.factors.items():
        np.testing.assert_allclose(pair.a, found.factors[name].a, atol=1e-5)
        np.testing.assert_allclose(pair.b, found.factors[name].b, atol=1e-5)
    shorter = train(start, LEARNABLE, found.steps // 2)
    assert examine(*start[:2], [shorter.factors], [LEARNABLE.questions]) == [0.0]


def test_who_fails_to_the_last_comes_with_its_last_adapter_not_accepted(start: Start) -> None:
    found = run(start, [TORN, LEARNABLE], replace(RETRIES, max_retries=2))["torn"]
    assert found.accepted is False and found.score is not None and found.score < 1
    assert found.steps == len(TORN.questions) * 2**2
    assert run(start, [TORN], replace(RETRIES, max_retries=0))["torn"].steps == len(TORN.questions)


def test_a_threshold_is_passed_by_reaching_it(start: Start) -> None:
    for threshold, accepted in ((0.5, True), (0.51, False)):
        found = run(start, [TORN], AcceptanceConfig(threshold=threshold, max_retries=6))["torn"]
        assert (found.accepted, found.score) == (accepted, 0.5)


def test_a_threshold_of_zero_scores_and_trains_nobody_again(start: Start) -> None:
    found = run(start, [TORN, LEARNABLE], AcceptanceConfig(threshold=0.0, max_retries=3))
    assert {name: adapter.steps for name, adapter in found.items()} == {"torn": 2, "learnable": 1}
    assert all(adapter.accepted and adapter.score is not None for adapter in found.values())


def test_what_is_examined_is_what_is_stored(start: Start, greedy: Callable[..., tuple[int, ...]]) -> None:
    """An adapter that is left as it is, and asked what it says: in int4 it says some of that no longer."""
    model, layout, _ = start
    draw = np.random.default_rng(0)
    shapes = layout.shapes()
    factors = {
        name: Factors(*(0.3 * draw.normal(size=s).astype("f4") for s in pair)) for name, *pair in shapes
    }
    prompts = [tuple(draw.integers(0, 64, 6).tolist()) for _ in range(24)]
    asked = candidate("d", *((*prompt, *greedy(model, layout, factors, prompt, 2)) for prompt in prompts))
    options: dict[str, Any] = {
        "acceptance": AcceptanceConfig(threshold=0.0),
        "training": replace(TRAINING, learning_rate=1e-12),
    }
    exact, coarse = (
        run((model, layout, factors), [asked], tier=tier, **options)["d"].score
        for tier in (Tier.fp32, Tier.int4)
    )
    stored = decode(encode(factors, layout, Tier.int4), layout, Tier.int4)
    assert exact == 1.0
    assert (
        [coarse] == examine(model, layout, [stored], [asked.questions]) and coarse is not None and coarse < 1
    )


def test_scores_do_not_depend_on_how_many_are_examined_at_once(start: Start) -> None:
    draw = np.random.default_rng(1)
    many = [
        candidate(f"d{n}", *(draw.integers(0, 64, 6 + n).tolist() for _ in range(1 + n % 3)))
        for n in range(7)
    ]
    many, acceptance = [*many, TORN], AcceptanceConfig(threshold=1.0, max_retries=4)
    one, three = (
        run(start, many, acceptance, training=replace(TRAINING, cohort_documents=n)) for n in (1, 3)
    )
    verdicts = {name: (adapter.score, adapter.accepted, adapter.steps) for name, adapter in one.items()}
    assert verdicts == {name: (three[name].score, three[name].accepted, three[name].steps) for name in one}
    assert len({accepted for _, accepted, _ in verdicts.values()}) == 2


def test_a_document_that_diverges_is_a_failure_and_not_tried_again(start: Start) -> None:
    wild = replace(TRAINING, learning_rate=1e38, epochs=3)
    (record,) = train_examined(*start, [LEARNABLE], wild, RETRIES, Tier.fp32)
    assert isinstance(record, Failure) and "diverged" in record.reason


def test_a_document_whose_exam_raises_is_a_failure_and_the_others_are_examined(start: Start) -> None:
    strange = [[Sample((9999, 1), (IGNORED, 1))]]  # no token of the model's
    candidates = [LEARNABLE, Candidate(TORN.item, strange), candidate("third", (1, 2, 3, 4))]
    records = {r.doc_id: r for r in train_examined(*start, candidates, TRAINING, RETRIES, Tier.fp32)}
    healthy = run(start, [LEARNABLE, candidates[2]], RETRIES)
    failure = records.pop("torn")
    assert isinstance(failure, Failure) and (failure.stage, failure.content_hash) == ("train", "hash of torn")
    assert failure.reason.startswith("IndexError: index out of range")
    verdicts = {name: (r.score, r.accepted) for name, r in records.items() if isinstance(r, Adapter)}
    assert verdicts == {name: (r.score, r.accepted) for name, r in healthy.items()}
