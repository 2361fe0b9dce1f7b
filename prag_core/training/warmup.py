"""Warm-up: the adapter that all documents start from, trained on questions without passages before any document is.

It learns how questions are asked and answered, so that a document's few steps go into what the document says. As published
(SIGIR 2025): 2,000 questions, or 600 with reasoning; the loss on the whole sequence, an end-of-sequence token at its end; one
question a step, in the file's order, one epoch at 3e-4. It is the training of one document whose samples are the questions
(`trainer`), and so equals PEFT's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from prag_core.bank.initial_adapter import WarmStart, read_warm_start
from prag_core.config.dump import as_dict
from prag_core.config.schema import Config, Prefill, PromptConfig, TrainingConfig
from prag_core.errors import CorpusError, ModelError, StorageError
from prag_core.identity import digest
from prag_core.models.base_model import (
    BaseModel,
    context_length,
    default_device,
    empty_model,
    load_base_model,
)
from prag_core.models.lora import AdapterLayout, initial_factors, layout_of
from prag_core.models.prompts import TEMPLATES, answer_messages, answer_prefill, encode
from prag_core.models.source import model_digest
from prag_core.questions.examples import load_fewshot
from prag_core.records import AdapterFactors, Factors, Question, Sample
from prag_core.training.cohort import TrainedDocument, train_cohort
from prag_core.training.trainable import check_loss, check_trainable
from prag_core.training.warmup_questions import (
    Lesson,
    Tick,
    make_lessons,
    num_wanted,
    read_questions,
    reasoning_tokens,
)

OWN = ("epochs", "learning_rate", "weight_decay")  # settings of the warmup section
SHARED = ("beta1", "beta2", "eps", "dtype", "seed")  # and of training that matter here too


@dataclass(frozen=True)
class WarmedUp:
    """A warm start. `reused`: it was at `warmup.out` already, made from the same questions and settings."""

    warm: WarmStart
    reused: bool


def warm_up(config: Config, tick: Tick = lambda *_: None) -> WarmedUp:
    """Train the initial adapter that the settings describe, unless `warmup.out` holds it. Writes nothing.

    Raises ConfigError for unusable settings, CorpusError for unusable questions, StorageError where another adapter lies at
    `warmup.out`, ModelError where the model is missing or training diverged.
    """
    settings = training_settings(config)
    questions = read_questions(config)
    path, revision, training = config.model.path, config.model.revision, config.training
    empty = empty_model(path, revision)
    check_trainable(empty, path)
    layout = layout_of(empty, rank=training.rank, alpha=training.alpha, targets=training.targets)
    model, made_from = model_digest(path, revision), describe_sources(config, questions)
    if found := find_same(config.warmup.out, layout, model, made_from):
        return WarmedUp(found, reused=True)
    lessons = make_lessons(
        config, questions, tick
    )  # the engine that reasons is gone before the weights are loaded
    base = load_base_model(path, training.dtype, default_device(), revision)
    check_loss(base.model)
    samples = build_samples(lessons, base, config.prompt, config.model.max_length)
    trained = train(base.model, layout, initial_factors(layout, training.seed), samples, settings, tick)
    figures = {name: getattr(trained, name) for name in ("steps", "tokens", "loss_first", "loss_last")}
    return WarmedUp(
        WarmStart(
            as_float32(trained.factors), layout, model, made_from, {"lessons": len(lessons), **figures}
        ),
        reused=False,
    )


def training_settings(config: Config) -> TrainingConfig:
    """Return the training settings of documents with warm-up's own in their place, and always the published objective."""
    warmup = config.warmup
    return replace(
        config.training,
        objective="next_token",
        epochs=warmup.epochs,
        learning_rate=warmup.learning_rate,
        weight_decay=warmup.weight_decay,
    )


def describe_sources(config: Config, questions: Sequence[Question]) -> dict[str, Any]:
    """Return everything that the factors depend on besides base model and layout, as plain values."""
    prompt, warmup, training = config.prompt, as_dict(config.warmup), as_dict(config.training)
    return {
        "questions": digest([[question.question, question.answers] for question in questions]),
        "num_questions": num_wanted(config),
        "templates": digest(TEMPLATES),
        "cot": prompt.cot,
        "fewshot": digest(load_fewshot(prompt.fewshot)) if prompt.cot else None,
        "reasoning_tokens": reasoning_tokens(config) if prompt.cot else None,
        "prefill": prompt.prefill.value if prompt.cot and prompt.prefill is not Prefill.published else None,
        **{name: warmup[name] for name in OWN},
        **{name: training[name] for name in SHARED},
    }


def find_same(uri: str, layout: AdapterLayout, model: str, made_from: dict[str, Any]) -> WarmStart | None:
    """Return the adapter at `uri` if it was made from the same; None if there is none. Raises StorageError for another one."""
    found = read_warm_start(uri)
    if found is None:
        return None
    differing = [name for name in made_from if found.made_from.get(name) != made_from[name]]
    differing += ["base model"] * (found.model != model) + ["shape of the adapter"] * (found.layout != layout)
    if differing:
        what = ", ".join(differing)
        raise StorageError(
            f"warmup.out={uri}: holds a warm-up that differs in {what}; choose another name, or remove the file"
        )
    return found


def build_samples(
    lessons: Sequence[Lesson], base: BaseModel, prompt: PromptConfig, max_length: int | None
) -> list[Sample]:
    """Make a sample of each lesson, without passages and closed by the end-of-sequence token; every token is a label. Raises
    CorpusError for one longer than the model's context, ModelError where the tokenizer has no end-of-sequence token."""
    limit, end = context_length(base.model, max_length), base.tokenizer.eos_token_id
    if end is None:
        raise ModelError(
            "warm-up teaches where an answer ends, but the tokenizer has no eos_token; set it in its config"
        )
    fewshot = load_fewshot(prompt.fewshot) if prompt.cot else ()
    samples = []
    for lesson in lessons:
        messages = answer_messages(lesson.question, (), cot=prompt.cot, fewshot=fewshot)
        tokens = (*encode(base.tokenizer, messages, answer_prefill(lesson.answer, cot=prompt.cot)), end)
        if len(tokens) > limit:
            shown, own = (
                lesson.question[:80],
                f"{len(tokens)} tokens with its answer, the model's context is {limit}",
            )
            raise CorpusError(f"warmup.questions: {shown!r} has {own}; leave it out")
        samples.append(Sample(tokens, tokens))
    return samples


def train(
    model: Any,
    layout: AdapterLayout,
    initial: AdapterFactors,
    samples: Sequence[Sample],
    settings: TrainingConfig,
    tick: Tick = lambda *_: None,
) -> TrainedDocument:
    """Train one adapter on the samples, in order. Raises ModelError where training diverged."""
    total = len(samples) * settings.epochs

    def observe(step: int, *_: object) -> None:
        tick("questions learned", step + 1, total)

    (trained,) = train_cohort(model, layout, initial, [samples], settings, observe)
    if not all(np.isfinite(factor).all() for pair in trained.factors.values() for factor in pair):
        losses = f"loss {trained.loss_first:.3g} → {trained.loss_last:.3g}"
        raise ModelError(f"warm-up diverged ({losses}); lower warmup.learning_rate={settings.learning_rate}")
    return trained


def as_float32(factors: AdapterFactors) -> AdapterFactors:
    return {
        name: Factors(pair.a.astype(np.float32), pair.b.astype(np.float32)) for name, pair in factors.items()
    }
