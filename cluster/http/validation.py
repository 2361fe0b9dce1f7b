"""Whether a request can be honoured, and what is then to be done for it. Pure: nothing is computed or read here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cluster.bounds import Bounds
from cluster.http.openai_protocol import ChatRequest, CompletionRequest
from cluster.records import Inquiry, Refused
from prag_core.answering.registry import NOT_SERVED, SERVED, OneRound, merges_adapters, retrieves
from prag_core.engines.base import Decoding
from prag_core.errors import ConfigError
from prag_core.merging import RULES
from prag_core.models.prompts import Message
from prag_core.retrieval import Filter

Asked = ChatRequest | CompletionRequest


@dataclass(frozen=True, slots=True)
class Caller:
    """On whose behalf a request is answered: `salt` keeps caches apart, `where` bounds what may be retrieved."""

    salt: str = ""
    where: Filter | None = None


ANYONE = Caller()


@dataclass(frozen=True, slots=True)
class Order:
    """What a request comes down to. `inquiry` is None for a method that retrieves nothing; one of several rounds asks within
    it by itself."""

    model: str
    method: str
    question: str
    earlier: tuple[Message, ...]
    inquiry: Inquiry | None
    decoding: Decoding
    merge: str | None
    salt: str
    trace: bool

    @property
    def several_rounds(self) -> bool:
        return not isinstance(SERVED[self.method], OneRound)


def check(request: Asked, caller: Caller, bounds: Bounds) -> Order | Refused:
    """The order that a request makes, or why it cannot be taken."""
    method = request.prag.method or request.model
    refused = (
        wrong_names(request, bounds) or unused_options(request, method) or out_of_bounds(request, bounds)
    )
    refused = refused or beyond_several_rounds(request, method)
    if refused:
        return refused
    conversation = conversation_of(request)
    if isinstance(conversation, Refused):
        return conversation
    question, earlier = conversation
    options, wanted = request.prag, SERVED[method]
    where = narrowed(caller.where, options.filter)
    if isinstance(where, Refused):
        return where
    doc_ids = tuple(dict.fromkeys(options.doc_ids)) if options.doc_ids else None
    inquiry = Inquiry(question, options.top_k or bounds.top_k, doc_ids, where)
    return Order(
        request.model,
        method,
        question,
        earlier,
        inquiry if retrieves(wanted) else None,
        decoding_of(request, bounds),
        options.merge,
        caller.salt,
        options.trace,
    )


def narrowed(allowed: Filter | None, asked: Mapping[str, Any] | None) -> Filter | Refused | None:
    """What a caller may see, less what its request leaves out."""
    if asked is None:
        return allowed
    try:
        wanted = Filter.parse(asked)
    except ConfigError as error:
        return Refused(400, str(error), "prag.filter", "invalid_value")
    return wanted if allowed is None else allowed & wanted


def wrong_names(request: Asked, bounds: Bounds) -> Refused | None:
    options, known = request.prag, ", ".join(bounds.methods)
    if request.model not in bounds.methods:
        return Refused(404, f"no model {request.model[:80]!r}; there are {known}", "model", "model_not_found")
    if options.method is not None and options.method not in bounds.methods:
        why = f" ({NOT_SERVED[options.method]})" if options.method in NOT_SERVED else ""
        return Refused(
            400, f"no method {options.method[:80]!r}{why}; there are {known}", "prag.method", "unknown_method"
        )
    if options.merge is not None and options.merge not in RULES:
        return Refused(
            400,
            f"no merge {options.merge[:80]!r}; there are {', '.join(RULES)}",
            "prag.merge",
            "unknown_merge",
        )
    return None


def unused_options(request: Asked, method: str) -> Refused | None:
    """Options that the method, or another option, leaves no meaning."""
    given = request.prag.model_fields_set
    wanted = SERVED[method]
    unused = [] if retrieves(wanted) else ["top_k", "doc_ids", "filter"]
    unused += [] if merges_adapters(wanted) else ["merge"]
    for name in unused:
        if name in given:
            return Refused(400, f"{method} has no use for prag.{name}", f"prag.{name}", "unused_parameter")
    for name in ("top_k", "filter"):
        if "doc_ids" in given and name in given:
            return Refused(
                400, f"prag.doc_ids names the documents; prag.{name} then has no use", f"prag.{name}"
            )
    return None


def beyond_several_rounds(request: Asked, method: str) -> Refused | None:
    """What a method of several rounds has no way to honour: it chooses its documents as it goes, and drafts greedily."""
    if isinstance(SERVED[method], OneRound):
        return None
    if request.prag.doc_ids is not None:
        why = "it retrieves by itself while it answers; name a filter"
        return Refused(400, f"{method} takes no prag.doc_ids: {why}", "prag.doc_ids", "unused_parameter")
    for name in ("temperature", "presence_penalty", "frequency_penalty", "stop"):
        if getattr(request, name):
            return Refused(
                400,
                f"{method} takes no {name}: its drafts are greedy, as they are judged",
                name,
                "unused_parameter",
            )
    return None


def out_of_bounds(request: Asked, bounds: Bounds) -> Refused | None:
    options = request.prag
    if options.top_k is not None and options.top_k > bounds.max_top_k:
        return Refused(
            400,
            f"prag.top_k={options.top_k}: at most {bounds.max_top_k} here",
            "prag.top_k",
            "too_many_documents",
        )
    if options.doc_ids is not None and len(options.doc_ids) > bounds.max_top_k:
        count = len(options.doc_ids)
        return Refused(400, too_many(count, bounds.max_top_k), "prag.doc_ids", "too_many_documents")
    if request.new_tokens is not None and request.new_tokens > bounds.max_new_tokens:
        name = "max_tokens" if request.max_tokens == request.new_tokens else "max_completion_tokens"
        return Refused(
            400, f"{name}={request.new_tokens}: at most {bounds.max_new_tokens} here", name, "too_many_tokens"
        )
    if request.stream_options is not None and not request.stream:
        return Refused(400, "stream_options without stream has no use", "stream_options", "unused_parameter")
    return None


def decoding_of(request: Asked, bounds: Bounds) -> Decoding:
    return Decoding(
        max_new_tokens=request.new_tokens or bounds.new_tokens,
        temperature=request.temperature or 0.0,
        top_p=1.0 if request.top_p is None else request.top_p,
        seed=request.seed,
        stop=request.stops,
        presence_penalty=request.presence_penalty or 0.0,
        frequency_penalty=request.frequency_penalty or 0.0,
    )


def conversation_of(request: Asked) -> tuple[str, tuple[Message, ...]] | Refused:
    """The question, and the messages before it."""
    if isinstance(request, CompletionRequest):
        question, earlier = request.prompt, []
    else:
        *before, last = request.messages
        if last.role != "user":
            return Refused(
                400, f"the last message is of role {last.role}; it must be the user's question", "messages"
            )
        question, earlier = (
            last.text,
            [Message(role=message.role, content=message.text) for message in before],
        )
    if not question.strip():
        return Refused(
            400, "the question is empty", "prompt" if isinstance(request, CompletionRequest) else "messages"
        )
    return question, tuple(earlier)


def too_many(count: int, most: int) -> str:
    return f"{count} documents or chunks of them; adapters of at most {most} fit into one request here"
