"""Check a request against what the server offers and turn it into an order. Pure: nothing is computed or read here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cluster.bounds import Bounds
from cluster.http.openai_protocol import ChatRequest, CompletionRequest
from cluster.records import Caller, Inquiry, Order, Refusal, Refused
from prag_core.answering.registry import METHODS
from prag_core.engines.base import Decoding
from prag_core.errors import ConfigError
from prag_core.merging import RULES
from prag_core.models.prompts import Message
from prag_core.retrieval import Filter

Asked = ChatRequest | CompletionRequest
ROLES = {"developer": "system"}  # a newer name for the same; chat templates know the older one
MAX_FIELDS = 32  # of a filter
MAX_VALUES = 1000  # of all fields of a filter together
MAX_VALUE_CHARACTERS = 1024


def check(request: Asked, caller: Caller, bounds: Bounds) -> Order:
    """Return the order that a request makes. Raises Refused for a request that cannot be honoured.

    Lengths come first: everything after them takes time by length.
    """
    check_length(request, bounds)
    method = request.prag.method or request.model
    check_names(request, bounds)
    check_used(request, method)
    check_bounds(request, bounds)
    check_several_rounds(request, method)
    question, earlier = conversation_of(request)
    options, wanted = request.prag, METHODS[method]
    where = narrowed(caller.where, options.filter)
    doc_ids = tuple(dict.fromkeys(options.doc_ids)) if options.doc_ids else None
    inquiry = Inquiry(question, options.top_k or bounds.top_k, doc_ids, where)
    return Order(
        model=request.model,
        method=method,
        question=question,
        decoding=decoding_of(request, bounds),
        earlier=earlier,
        inquiry=inquiry if wanted.retrieves else None,
        merge=options.merge,
        salt=caller.salt,
        trace=options.trace,
    )


def narrowed(allowed: Filter | None, asked: Mapping[str, Any] | None) -> Filter | None:
    """Join the caller's own filter and its request's. Raises Refused for a filter that cannot be read or is too large."""
    if asked is None:
        return allowed
    check_filter_size(asked)
    try:
        wanted = Filter.parse(asked)
    except ConfigError as error:
        raise Refused(Refusal(400, str(error), "prag.filter", "invalid_value")) from None
    return wanted if allowed is None else allowed & wanted


def check_length(request: Asked, bounds: Bounds) -> None:
    """Raises Refused for a prompt, or messages, of more characters than the server reads."""
    if isinstance(request, CompletionRequest):
        param, length = "prompt", len(request.prompt)
    else:
        param, length = "messages", sum(len(message.text) for message in request.messages)
    if length > bounds.max_characters:
        message = f"{param}: {length} characters; at most {bounds.max_characters} here"
        raise Refused(Refusal(400, message, param, "string_above_max_length"))


def check_filter_size(fields: Mapping[str, Any]) -> None:
    """Raises Refused for a filter with too many fields or values, or with a value that is too long."""
    values = [v for value in fields.values() for v in (value if isinstance(value, list) else [value])]
    longest = max((len(text) for text in [*fields, *values] if isinstance(text, str)), default=0)
    for count, most, what in (
        (len(fields), MAX_FIELDS, "fields"),
        (len(values), MAX_VALUES, "values"),
        (longest, MAX_VALUE_CHARACTERS, "characters in a name or value"),
    ):
        if count > most:
            message = f"prag.filter: {count} {what}; at most {most} here"
            raise Refused(Refusal(400, message, "prag.filter", "filter_too_large"))
    if any(isinstance(value, int) and abs(value) >= 2**63 for value in values):
        message = "prag.filter: a whole number is too large; at most 64 bits"
        raise Refused(Refusal(400, message, "prag.filter", "invalid_value"))


def unknown_model(name: str, bounds: Bounds) -> Refusal:
    """Refuse a model by name, naming those that are offered."""
    known = ", ".join(bounds.methods)
    return Refusal(404, f"no model {name[:80]!r}; there are {known}", "model", "model_not_found")


def check_names(request: Asked, bounds: Bounds) -> None:
    """Raises Refused for a model, method or merge rule that is not offered."""
    options, known = request.prag, ", ".join(bounds.methods)
    if request.model not in bounds.methods:
        raise Refused(unknown_model(request.model, bounds))
    if options.method is not None and options.method not in bounds.methods:
        known_here = METHODS.get(options.method)
        why = f" ({known_here.not_served})" if known_here and known_here.not_served else ""
        message = f"no method {options.method[:80]!r}{why}; there are {known}"
        raise Refused(Refusal(400, message, "prag.method", "unknown_method"))
    if options.merge is not None and options.merge not in RULES:
        message = f"no merge {options.merge[:80]!r}; there are {', '.join(RULES)}"
        raise Refused(Refusal(400, message, "prag.merge", "unknown_merge"))


def check_used(request: Asked, method: str) -> None:
    """Raises Refused for an option that has no meaning with the method, or with another option."""
    given = request.prag.model_fields_set
    wanted = METHODS[method]
    unused = [] if wanted.retrieves else ["top_k", "doc_ids", "filter"]
    unused += [] if wanted.merges else ["merge"]
    for name in unused:
        if name in given:
            message = f"{method} has no use for prag.{name}"
            raise Refused(Refusal(400, message, f"prag.{name}", "unused_parameter"))
    for name in ("top_k", "filter"):
        if "doc_ids" in given and name in given:
            message = f"prag.doc_ids names the documents; prag.{name} then has no use"
            raise Refused(Refusal(400, message, f"prag.{name}"))


def check_several_rounds(request: Asked, method: str) -> None:
    """Raises Refused for what a method of several rounds cannot honour: it chooses its documents itself, and drafts greedily."""
    if METHODS[method].kind == "one_round":
        return
    if request.prag.doc_ids is not None:
        message = f"{method} takes no prag.doc_ids: it retrieves by itself while it answers; name a filter"
        raise Refused(Refusal(400, message, "prag.doc_ids", "unused_parameter"))
    for name in ("temperature", "presence_penalty", "frequency_penalty", "stop"):
        if getattr(request, name):
            message = f"{method} takes no {name}: its drafts are greedy, as they are judged"
            raise Refused(Refusal(400, message, name, "unused_parameter"))


def check_bounds(request: Asked, bounds: Bounds) -> None:
    """Raises Refused for a number that is beyond what the server allows."""
    options = request.prag
    if options.top_k is not None and options.top_k > bounds.max_top_k:
        message = f"prag.top_k={options.top_k}: at most {bounds.max_top_k} here"
        raise Refused(Refusal(400, message, "prag.top_k", "too_many_documents"))
    bounds.check_documents(len(options.doc_ids or ()))
    if request.new_tokens is not None and request.new_tokens > bounds.max_new_tokens:
        name = "max_tokens" if request.max_tokens == request.new_tokens else "max_completion_tokens"
        message = f"{name}={request.new_tokens}: at most {bounds.max_new_tokens} here"
        raise Refused(Refusal(400, message, name, "too_many_tokens"))
    if request.stream_options is not None and not request.stream:
        message = "stream_options without stream has no use"
        raise Refused(Refusal(400, message, "stream_options", "unused_parameter"))


def decoding_of(request: Asked, bounds: Bounds) -> Decoding:
    """Return how to decode: as asked, greedily where the request does not say."""
    return Decoding(
        max_new_tokens=request.new_tokens or bounds.new_tokens,
        temperature=request.temperature or 0.0,
        top_p=1.0 if request.top_p is None else request.top_p,
        seed=request.seed,
        stop=request.stops,
        presence_penalty=request.presence_penalty or 0.0,
        frequency_penalty=request.frequency_penalty or 0.0,
    )


def conversation_of(request: Asked) -> tuple[str, tuple[Message, ...]]:
    """Return the question, and the messages before it. Raises Refused where there is no question."""
    if isinstance(request, CompletionRequest):
        param, question, earlier = "prompt", request.prompt, []
    else:
        *before, last = request.messages
        if last.role != "user":
            message = f"the last message is of role {last.role}; it must be the user's question"
            raise Refused(Refusal(400, message, "messages"))
        param, question = "messages", last.text
        earlier = [Message(role=ROLES.get(turn.role, turn.role), content=turn.text) for turn in before]
    if not question.strip():
        raise Refused(Refusal(400, "the question is empty", param))
    return question, tuple(earlier)
