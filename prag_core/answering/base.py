"""What a method is, and what it may use.

A method answers a batch of questions with `Tools`: retrieval, the bank's adapters, the engine, the prompt's wording.
Batches matter: one call to the engine carries every question of a round, each with its own merged adapter.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, Protocol

from prag_core.bank import Entry
from prag_core.config.schema import Config, MergeConfig, MethodsConfig, PromptConfig
from prag_core.engines.base import Engine
from prag_core.merging import Versioned
from prag_core.models.lora import AdapterLayout
from prag_core.models.prompts import Message
from prag_core.records import AdapterFactors, Answer, Augmentation, Key, Passage, Question

Kind = Literal["one_round", "iterative", "adaptive"]


class Source(Protocol):
    """The documents of one bank: as passages, and as adapters."""

    def search(self, questions: Sequence[str], k: int) -> list[list[Passage]]:
        """Retrieve k passages for each question, best first."""

    def entries(self, keys: Collection[Key]) -> Mapping[Key, Entry]:
        """Return the snapshot's entries of those of these documents that it has."""

    def read(self, entries: Sequence[Entry]) -> tuple[Mapping[Key, AdapterFactors], Mapping[Key, str]]:
        """Read the adapters that lie at `entries`, and say why the others cannot be read."""

    def augmentations(self, keys: Collection[Key]) -> Mapping[Key, Augmentation]:
        """Return the augmentations of those of these documents that have one."""

    def irrelevant(self, question: Question, retrieved: Sequence[Passage], k: int) -> list[Passage]:
        """Choose k documents of the retrieved ones' kind, neither retrieved nor gold."""

    def gold(self, question: Question) -> list[Passage]:
        """Return the documents that the question is labelled with."""


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What a method may use. A retrieval gives `top_k` passages; `prompt` is worded as the bank's; `merge` has the merge rule;
    `start` is the adapter that the bank's documents were warm-started from; `earlier` are the messages before the question."""

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
    earlier: tuple[Message, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """A way of answering, and the facts about it: `name` is what users call it; it `retrieves` if documents are of any use to it,
    and `merges` if it may merge their adapters; `not_served` is the reason that no endpoint offers it, None for one that may be
    offered. A method of one round retrieves and generates at most once, an iterative one as often as it needs to, and an
    adaptive one chooses another method for each question."""

    name: str
    kind: Kind
    retrieves: bool = True
    merges: bool
    not_served: str | None = None

    @abstractmethod
    def answer(self, questions: Sequence[Question], tools: Tools) -> list[Answer]:
        """Answer questions, in order."""

    def most_documents(self, config: Config) -> int:
        """Return how many documents' adapters it may merge for one question. Raises ConfigError where the engine that `config`
        names cannot run it."""
        return config.retrieval.top_k if self.merges else 0

    @property
    def thresholds(self) -> tuple[str, ...]:
        """The settings in `methods` that its decisions depend on, in the order in which they are best chosen."""
        return ()

    def observe(self, threshold: str, questions: Sequence[Question], tools: Tools) -> list[float]:
        """Return what that threshold would be compared with: figures whose quantiles are thresholds that make a difference."""
        raise NotImplementedError(f"{self.name} has no threshold {threshold}")

    def cached(self) -> Method:
        """Return the same method for trying thresholds on the same questions, asking nothing twice that none of them changes."""
        return self


@dataclass
class Stopwatch:
    """Milliseconds by stage, of a whole batch; `per(n)` divides them evenly."""

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
