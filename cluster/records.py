"""What flows between the processes of the endpoint, one frozen record a step.

    HTTP request → Inquiry → retriever → Found → generator → Begun, Delta …, Done → HTTP response
                                           ↑                      │
                                           └──────── Stale ───────┘   (the corpus has moved on: retrieve again)

A method of several rounds has its inquiry in the task: the generator asks the retriever itself, as often as it needs to.
`Refused` may take the place of any of them: it carries the HTTP status and the OpenAI error's fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from prag_core.bank import Entry
from prag_core.engines.base import Decoding
from prag_core.models.prompts import Message
from prag_core.records import Key, Passage, Round
from prag_core.retrieval import Filter

UsedAs = Literal["adapter", "text", "both"]


@dataclass(frozen=True, slots=True)
class Inquiry:
    """What to retrieve: the best `top_k` for a query, or exactly `doc_ids`; only documents that `where` lets through.
    `at_least` is the number of a snapshot that must have been seen."""

    query: str
    top_k: int
    doc_ids: tuple[str, ...] | None = None
    where: Filter | None = None
    at_least: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """Passages of one snapshot (none: only which one) and where their adapters lie. `seen` is the newest snapshot's number that
    was known."""

    snapshot: str
    seen: int
    passages: tuple[Passage, ...] = ()
    entries: Mapping[Key, Entry] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Task:
    """What a generator is asked for. `inquiry` is what `found` came from, or what a method of several rounds is to ask within,
    of the snapshot that `found` names; None where nothing is retrieved. `salt` keeps one caller's caches apart from another's."""

    request_id: str
    method: str
    question: str
    found: Found
    decoding: Decoding
    inquiry: Inquiry | None = None
    earlier: tuple[Message, ...] = ()
    merge: str | None = None  # a rule by name; None: the one that the server is set to
    salt: str = ""
    trace: bool = False


@dataclass(frozen=True, slots=True)
class UsedDocument:
    passage: Passage
    adapter: str | None  # its version, where it was merged
    used_as: UsedAs


@dataclass(frozen=True, slots=True)
class Begun:
    """Everything but the text: sent before the first piece of it."""

    documents: tuple[UsedDocument, ...]
    degraded: tuple[tuple[Key, str], ...]
    timings_ms: Mapping[str, float]
    prompt_tokens: int
    trace: Mapping[str, Any]  # on request: facts about the merge
    rounds: tuple[Round, ...] = ()  # every retrieval, in order


@dataclass(frozen=True, slots=True)
class Delta:
    text: str


@dataclass(frozen=True, slots=True)
class Done:
    finish: Literal["stop", "length"]
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class Stale:
    """The passages are of a corpus that has lost some of them since: retrieve again, having seen snapshot `number`."""

    number: int


@dataclass(frozen=True, slots=True)
class Refused:
    """Why there is no answer: an HTTP status and what the OpenAI error object says."""

    status: int
    message: str
    param: str | None = None
    code: str | None = None
    retry_after: int | None = None


def used_as(merged: bool, shown: bool) -> UsedAs:
    """How a document that was used came to the model."""
    return "text" if not merged else "both" if shown else "adapter"


UNREACHABLE = Refused(503, "no engine can be reached now; try again", None, "engine_unavailable", 5)

Event = Begun | Delta | Done | Stale | Refused
