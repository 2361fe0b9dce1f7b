"""The records that flow through the system, one frozen dataclass a stage.

    corpus → Document → Augmentation → Sample → Adapter → bank → snapshot
                                                    ↓
                question → Passage → Adapter → merged → Answer → scores

A document is known by `(doc_id, chunk)`; most have the one chunk 0. `content_hash` (see `identity`) says which wording of it an
augmentation or adapter was made from. Records have no behaviour beyond their own key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

Key = tuple[str, int]  # (doc_id, chunk)
IGNORED = -100  # label of a position that the loss leaves out


class Factors(NamedTuple):
    """One module's LoRA factors, float32: `a` is [rank, in_features], `b` is [out_features, rank]."""

    a: np.ndarray
    b: np.ndarray


AdapterFactors = Mapping[str, Factors]  # module name, as the base model spells it → its factors


@dataclass(frozen=True, slots=True)
class Document:
    """A document of the corpus, or a chunk of one: the unit that becomes one adapter."""

    doc_id: str
    text: str
    title: str = ""
    chunk: int = 0
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        return (self.doc_id, self.chunk)


@dataclass(frozen=True, slots=True)
class QAPair:
    """A question that a passage answers, its short answer, and the answer as a sentence."""

    question: str
    answer: str
    full_answer: str


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Rewrites and question-answer pairs that a language model wrote about one document.

    `generator` names the model and the settings that wrote it.
    """

    doc_id: str
    chunk: int
    content_hash: str
    rewrites: tuple[str, ...]
    qa_pairs: tuple[QAPair, ...]
    generator: str

    @property
    def key(self) -> Key:
        return (self.doc_id, self.chunk)


@dataclass(frozen=True, slots=True)
class Sample:
    """One training sequence: `labels[t]` is the target at position t, or IGNORED (not shifted).

    For distillation `teacher_ids` is the sequence that the frozen model reads: another context, then the same tokens from the
    first label on. Labels are aligned from the end.
    """

    token_ids: tuple[int, ...]
    labels: tuple[int, ...]
    teacher_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Adapter:
    """One document as LoRA factors, with the numbers of its training. Losses are in nats per token.

    `accepted` is the verdict of the exam and `score` its score (see `training.acceptance`); both are None if none was held.
    """

    doc_id: str
    chunk: int
    content_hash: str
    factors: AdapterFactors
    _: KW_ONLY
    steps: int
    tokens: int
    loss_first: float
    loss_last: float
    accepted: bool | None = None
    score: float | None = None

    @property
    def key(self) -> Key:
        return (self.doc_id, self.chunk)


@dataclass(frozen=True, slots=True)
class Failure:
    """The record of a quarantined document: the stage that failed, the reason, and the number of attempts."""

    doc_id: str
    chunk: int
    content_hash: str
    stage: str
    reason: str
    attempts: int

    @property
    def key(self) -> Key:
        return (self.doc_id, self.chunk)


@dataclass(frozen=True, slots=True)
class Passage:
    """A retrieved document with its retrieval score (higher is better)."""

    doc_id: str
    chunk: int
    title: str
    text: str
    score: float

    @property
    def key(self) -> Key:
        return (self.doc_id, self.chunk)


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its accepted answers and, where known, the documents that answer it."""

    question_id: str
    question: str
    answers: tuple[str, ...]
    gold_doc_ids: tuple[str, ...] = ()
    type: str = ""


@dataclass(frozen=True, slots=True)
class Round:
    """One retrieval on the way to an answer: the query and the passages it retrieved."""

    query: str
    passages: tuple[Passage, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """A method's answer to one question, and how it came about."""

    text: str
    _: KW_ONLY
    passages: tuple[Passage, ...] = ()  # retrieved, best first
    adapters: tuple[Key, ...] = ()  # documents whose adapters were merged
    degraded: tuple[
        tuple[Key, str], ...
    ] = ()  # documents shown as text because they have no usable adapter; why
    # Milliseconds by stage: retrieve, fetch, merge, generate; judge (iterative methods), route (adaptive methods).
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    rounds: tuple[Round, ...] = ()  # every retrieval, in order
    num_tokens: int = 0  # generated, discarded ones included
    route: str = ""  # the strategy that an adaptive method chose
    shown: tuple[Key, ...] = ()  # documents that were in a prompt
    finish: Literal["stop", "length"] = (
        "stop"  # whether the text ended by itself or was cut at the token limit
    )
