"""Records that flow between the processes of the endpoint, one frozen record a step.

    HTTP request → Order → Inquiry → retriever → Found → Task → generator → Begun, Delta …, Done → HTTP response
                                         ↑                        │
                                         └──────── Stale ─────────┘   (the corpus has changed: retrieve again)

A method of several rounds has its inquiry in the task: the generator asks the retriever itself, as often as it needs to.

Between them come `Usage` records where tokens were generated and there is no text yet, so that a request is charged for what
was generated however it ends.

A request that gets no answer ends in a `Refusal`. Inside a process it is raised, as `Refused`; between Ray actors it is
returned or yielded as a value, because Ray wraps exceptions in its own classes and adds tracebacks to them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from prag_core.answering.registry import METHODS
from prag_core.bank import Entry
from prag_core.engines.base import Decoding
from prag_core.models.prompts import Message
from prag_core.records import Key, Passage, Round
from prag_core.retrieval import Filter

UsedAs = Literal["adapter", "text", "both"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Reason that a request gets no answer: an HTTP status, and the fields of an OpenAI error object."""

    status: int
    message: str
    param: str | None = None
    code: str | None = None
    retry_after: int | None = None  # seconds


class Refused(Exception):
    """Ends a request within one process; `refusal` says why."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal)
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class Caller:
    """The client on whose behalf a request is answered. `salt` keeps its caches apart from others', `where` limits the
    documents that it can retrieve."""

    salt: str = ""
    where: Filter | None = None


ANYONE = Caller()


@dataclass(frozen=True, slots=True)
class Inquiry:
    """A retrieval request: the best `top_k` passages for a query, or exactly `doc_ids`, among documents that match `where`.
    `at_least` is the number of the oldest snapshot that may answer it."""

    query: str
    top_k: int
    doc_ids: tuple[str, ...] | None = None
    where: Filter | None = None
    at_least: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A checked request, free of HTTP. `inquiry` is None for a method that retrieves nothing; a method of several rounds
    makes its own inquiries within it. `merge` is a rule by name, None for the server's own."""

    model: str
    method: str
    question: str
    decoding: Decoding
    earlier: tuple[Message, ...] = ()  # the conversation before the question
    inquiry: Inquiry | None = None
    merge: str | None = None
    salt: str = ""
    trace: bool = False

    @property
    def several_rounds(self) -> bool:
        return METHODS[self.method].kind != "one_round"


@dataclass(frozen=True, slots=True)
class Found:
    """The retriever's reply: passages of one snapshot and the bank entries of their documents. `seen` is the number of the
    newest snapshot that the retriever knew of."""

    snapshot: str
    seen: int
    passages: tuple[Passage, ...] = ()
    entries: Mapping[Key, Entry] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """An order for a generator, with what was retrieved for it. The order's inquiry is what `found` answers, or the limits
    within which a method of several rounds retrieves from the snapshot that `found` names."""

    request_id: str
    order: Order
    found: Found


@dataclass(frozen=True, slots=True)
class UsedDocument:
    """A retrieved document and the way it reached the model. `adapter` is the version that was merged."""

    passage: Passage
    adapter: str | None
    used_as: UsedAs


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """Everything about an answer but its text: sent before the first piece of it. `trace` has facts about the merge, on
    request; `rounds` every retrieval, in order."""

    documents: tuple[UsedDocument, ...] = ()
    degraded: tuple[tuple[Key, str], ...] = ()
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    prompt_tokens: int
    trace: Mapping[str, Any] = field(default_factory=dict)
    rounds: tuple[Round, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that were read and generated for a task so far. Ends of sequence, thoughts and rejected drafts count."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def total(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Delta:
    """The next piece of an answer's text, and the number of tokens that were generated by its end."""

    text: str
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class Done:
    """The end of an answer."""

    finish: Literal["stop", "length"]
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class Stale:
    """Some of the passages were deleted since they were retrieved: retrieve again, from snapshot `number` or a newer one."""

    number: int


Event = Begun | Usage | Delta | Done | Stale | Refusal

UNREACHABLE = Refusal(
    503, "no engine can be reached now; try again", code="engine_unavailable", retry_after=5
)


def used_documents(
    passages: Sequence[Passage], versions: Mapping[Key, str], shown: Collection[Key]
) -> tuple[UsedDocument, ...]:
    """Say of each passage how it reached the model: `versions` are those of merged adapters, `shown` is what the prompt had."""
    return tuple(
        UsedDocument(p, versions.get(p.key), _used_as(p.key in versions, p.key in shown)) for p in passages
    )


def _used_as(merged: bool, shown: bool) -> UsedAs:
    return "text" if not merged else "both" if shown else "adapter"
