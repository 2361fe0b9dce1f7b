"""What a method is, and what it may use.

A method answers a batch of questions with `Tools`: retrieval, the bank's adapters, the engine, the prompt's wording.
Batches matter: one call to the engine carries every question of a round, each with its own merged adapter.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

from prag_core.answering.merge_plan import MergePlan, plan_merge
from prag_core.bank import Entry
from prag_core.config.schema import Config, MergeConfig, MethodsConfig, PromptConfig
from prag_core.engines.base import Engine, Request, Sampling
from prag_core.merging import MergedAdapter, Versioned
from prag_core.models import prompts
from prag_core.models.lora import AdapterLayout
from prag_core.records import AdapterFactors, Answer, Augmentation, Key, Passage, Question, Round


class Source(Protocol):
    """The documents of one bank: as passages, and as adapters."""

    def search(self, questions: Sequence[str], k: int) -> list[list[Passage]]:
        """For each question its best k passages, best first."""

    def entries(self, keys: Collection[Key]) -> Mapping[Key, Entry]:
        """What the snapshot says of those of these documents that it has."""

    def read(self, entries: Sequence[Entry]) -> tuple[Mapping[Key, AdapterFactors], Mapping[Key, str]]:
        """The adapters that lie at `entries`, and for those that cannot be read the reason."""

    def augmentations(self, keys: Collection[Key]) -> Mapping[Key, Augmentation]:
        """What was written about those of these documents that were augmented."""

    def irrelevant(self, question: Question, retrieved: Sequence[Passage], k: int) -> list[Passage]:
        """k documents of the retrieved ones' kind, neither retrieved nor gold."""

    def gold(self, question: Question) -> list[Passage]:
        """The documents that the question is labelled with."""


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What a method may use. `top_k` passages a retrieval; the prompt's wording is the bank's; `merge` is how adapters meet;
    `start` the adapter that the bank's documents were warm-started from, `earlier` the messages of the conversation before
    the question."""

    engine: Engine
    source: Source
    layout: AdapterLayout
    prompt: PromptConfig
    top_k: int
    max_new_tokens: int
    fewshot: tuple[tuple[str, str], ...] = ()
    merge: MergeConfig = field(default_factory=MergeConfig)
    methods: MethodsConfig = field(default_factory=MethodsConfig)
    start: Versioned | None = None
    recipe_id: str = ""  # of the bank
    earlier: tuple[prompts.Message, ...] = ()


class Method(Protocol):
    """Answers questions in order. `name` is what users call it."""

    @property
    def name(self) -> str: ...

    def answer(self, questions: Sequence[Question], tools: Tools) -> list[Answer]: ...


@runtime_checkable
class OneRound(Method, Protocol):
    """A method of at most one retrieval and one generation. All that tells it from the others: whether its passages are shown
    as `text`, merged as `adapters`, or neither; and whether they are the `gold` ones instead of retrieved ones."""

    @property
    def text(self) -> bool: ...

    @property
    def adapters(self) -> bool: ...

    @property
    def gold(self) -> bool: ...


@runtime_checkable
class SeveralRounds(Method, Protocol):
    """A method that asks retrieval by itself while it answers, as often as it needs to. `parametric`: it also merges adapters
    of what it finds."""

    @property
    def parametric(self) -> bool: ...


@runtime_checkable
class Demanding(Method, Protocol):
    """A method that asks more of the engine than one round over top_k documents does."""

    def most_documents(self, config: Config) -> int:
        """Documents whose adapters it may merge for one question. Raises ConfigError where the engine that `config` names
        cannot run it."""


@runtime_checkable
class Calibrated(Method, Protocol):
    """A method whose decisions hang on thresholds."""

    @property
    def thresholds(self) -> tuple[str, ...]:
        """Its settings in `methods`, in the order in which they are best chosen."""

    def observe(self, threshold: str, questions: Sequence[Question], tools: Tools) -> list[float]:
        """What that threshold would be compared with: figures whose quantiles are thresholds that make a difference."""


@dataclass
class Stopwatch:
    """Milliseconds by stage, of a whole batch; `per(n)` shares them out evenly."""

    milliseconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.milliseconds[name] = self.milliseconds.get(name, 0.0) + (time.perf_counter() - start) * 1000

    def per(self, count: int) -> Mapping[str, float]:
        return {name: total / max(count, 1) for name, total in self.milliseconds.items()}


@dataclass(frozen=True)
class Merge:
    """A question's merge as planned, and the merged adapter, None where nothing is merged."""

    plan: MergePlan
    adapter: MergedAdapter | None = None


NO_MERGE = Merge(MergePlan())


def answer_once(
    questions: Sequence[Question],
    passages: Sequence[Sequence[Passage]],
    tools: Tools,
    clock: Stopwatch,
    *,
    text: bool,
    adapters: bool,
) -> list[Answer]:
    """One round: each question over its passages, shown as `text`, merged as `adapters`, or both (neither: closed book).

    A passage whose adapter is missing or corrupt is shown as text instead, and the answer says so in `degraded`.
    """
    merges = merge_passages(passages, tools, clock) if adapters else [NO_MERGE] * len(questions)
    texts = [merge.plan.shown(found, text=text) for found, merge in zip(passages, merges, strict=True)]
    requests = [
        Request(encode_question(question.question, in_prompt, tools), merge.adapter)
        for question, in_prompt, merge in zip(questions, texts, merges, strict=True)
    ]
    with clock.stage("generate"):
        generations = tools.engine.generate(requests, Sampling(tools.max_new_tokens))
    timings = clock.per(len(questions))
    return [
        Answer(
            done.text,
            passages=tuple(found),
            adapters=merge.plan.keys,
            degraded=merge.plan.degraded,
            timings_ms=timings,
            num_tokens=len(done.token_ids),
            shown=tuple(passage.key for passage in in_prompt),
            finish=done.finish,
        )
        for done, found, merge, in_prompt in zip(generations, passages, merges, texts, strict=True)
    ]


def trace(
    answers: Sequence[Answer], questions: Sequence[Question], found: Sequence[Sequence[Passage]]
) -> list[Answer]:
    """The answers, each saying that its question itself was asked of retrieval, and what that found."""
    rounds = [
        Round(question.question, tuple(passages)) for question, passages in zip(questions, found, strict=True)
    ]
    return [replace(answer, rounds=(made,)) for answer, made in zip(answers, rounds, strict=True)]


def encode_question(question: str, passages: Sequence[Passage], tools: Tools) -> tuple[int, ...]:
    """Token ids of a question over passages, up to where the model goes on."""
    shown_as = [(passage.title, passage.text) for passage in passages]
    return prompts.encode_question(
        tools.engine.tokenizer, question, shown_as, tools.prompt, tools.fewshot, tools.earlier
    )


def merge_passages(passages: Sequence[Sequence[Passage]], tools: Tools, clock: Stopwatch) -> list[Merge]:
    """Each question's passages as one merged adapter. All that are needed are fetched at once."""
    with clock.stage("fetch"):
        entries = tools.source.entries({passage.key for found in passages for passage in found})
        plans = [plan_merge(found, entries, tools.recipe_id) for found in passages]
        wanted = {entry.key: entry for plan in plans for entry in plan.entries}
        factors, unreadable = tools.source.read(list(wanted.values()))
        plans = [plan.without(unreadable) for plan in plans]
    with clock.stage("merge"):
        return [Merge(plan, plan.merge(factors, tools.layout, tools.merge, tools.start)) for plan in plans]
