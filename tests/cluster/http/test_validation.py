"""A request becomes an order, or is refused before anything is computed for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cluster.bounds import Bounds
from cluster.http.openai_protocol import ChatRequest, CompletionRequest
from cluster.http.validation import MAX_FIELDS, MAX_VALUE_CHARACTERS, MAX_VALUES, check
from cluster.records import ANYONE, Caller, Inquiry, Order, Refusal, Refused
from prag_core.answering.registry import SERVED
from prag_core.engines.base import Decoding
from prag_core.retrieval import Filter

BOUNDS = Bounds(
    methods=tuple(SERVED),
    top_k=3,
    max_top_k=4,
    new_tokens=20,
    max_new_tokens=64,
    max_body_bytes=10_000,
    max_characters=500,
    max_in_flight=2,
    timeout_seconds=0.5,
)
QUESTION = {"role": "user", "content": "Where is it?"}


def order(caller: Caller = ANYONE, bounds: Bounds = BOUNDS, **fields: Any) -> Order:
    """The order of a chat request with these fields."""
    request = ChatRequest.model_validate({"model": "prag", "messages": [QUESTION]} | fields)
    return check(request, caller, bounds)


def refusal(bounds: Bounds = BOUNDS, **fields: Any) -> Refusal:
    """The refusal of a chat request with these fields."""
    with pytest.raises(Refused) as refused:
        order(bounds=bounds, **fields)
    return refused.value.refusal


def test_what_is_not_said_is_the_servers_default() -> None:
    made = order()
    assert (made.inquiry, made.decoding, made.merge) == (Inquiry("Where is it?", 3), Decoding(20), None)


def test_the_last_message_is_the_question_and_the_others_come_before_it() -> None:
    before = [
        {"role": "system", "content": [{"type": "text", "text": "Be "}, {"type": "text", "text": "brief."}]}
    ]
    made = order(messages=[*before, QUESTION])
    assert made.question == "Where is it?" and made.earlier == ({"role": "system", "content": "Be brief."},)
    prompt = check(CompletionRequest(model="rag", prompt="Who?"), ANYONE, BOUNDS)
    assert (prompt.question, prompt.earlier) == ("Who?", ())
    for messages in (
        [*before, QUESTION, {"role": "assistant", "content": "Here."}],
        [QUESTION | {"content": " "}],
    ):
        assert refusal(messages=messages).param == "messages"


def test_a_developer_message_is_a_system_message() -> None:
    made = order(messages=[{"role": "developer", "content": "Be brief."}, QUESTION])
    assert made.earlier == ({"role": "system", "content": "Be brief."},)


def test_an_answer_without_text_is_an_empty_turn() -> None:
    before = [QUESTION, {"role": "assistant", "content": None}]
    assert order(messages=[*before, QUESTION]).earlier[1] == {"role": "assistant", "content": ""}


def test_a_callers_filter_and_salt_hold_whatever_it_asks_for() -> None:
    tenant = Caller("tenant", Filter.parse({"kind": "place"}))
    assert order(caller=tenant).inquiry == Inquiry("Where is it?", 3, None, tenant.where)
    inquiry = order(caller=tenant, prag={"filter": {"kind": "person"}}).inquiry
    assert (
        inquiry
        and inquiry.where
        and not inquiry.where.allows({"kind": "person"})
        and order(caller=tenant).salt == "tenant"
    )


ONE_ROUND_TEXT = {"top_k", "doc_ids", "filter"}
SEVERAL_ROUNDS_TEXT = {"top_k", "filter"}
HONOURED = {  # the options of `prag` that each method honours; it refuses the others by name
    "closed_book": set(),
    "rag": ONE_ROUND_TEXT,
    "prag": ONE_ROUND_TEXT | {"merge"},
    "combine": ONE_ROUND_TEXT | {"merge"},
    "da_rag": ONE_ROUND_TEXT,
    "da_rag+prag": ONE_ROUND_TEXT | {"merge"},
    "ircot": SEVERAL_ROUNDS_TEXT,
    "ircot+prag": SEVERAL_ROUNDS_TEXT | {"merge"},
    "flare": SEVERAL_ROUNDS_TEXT,
    "flare+prag": SEVERAL_ROUNDS_TEXT | {"merge"},
    "flare_lookahead": SEVERAL_ROUNDS_TEXT,
    "flare_lookahead+prag": SEVERAL_ROUNDS_TEXT | {"merge"},
    "adaptive_rag": SEVERAL_ROUNDS_TEXT | {"merge"},  # a router may choose a strategy that merges
    "adaptive_rag+prag": SEVERAL_ROUNDS_TEXT | {"merge"},
    "adaptive_prag": SEVERAL_ROUNDS_TEXT | {"merge"},
}


def in_order(made: Order) -> dict[str, Any]:
    """The options of `prag` as they stand in an order."""
    inquiry = made.inquiry
    return {
        "top_k": inquiry and inquiry.top_k,
        "doc_ids": inquiry and inquiry.doc_ids,
        "filter": inquiry and inquiry.where,
        "merge": made.merge,
    }


@pytest.mark.parametrize("method", SERVED)
def test_every_method_honours_its_options_and_refuses_the_others_by_name(method: str) -> None:
    expected: dict[str, tuple[Any, Any]] = {  # option: as asked, as it is then in the order
        "top_k": (2, 2),
        "doc_ids": (["a", "a"], ("a",)),
        "filter": ({"kind": ["place"]}, Filter.parse({"kind": "place"})),
        "merge": ("mean", "mean"),
    }
    for name, (asked, ordered) in expected.items():
        if name in HONOURED[method]:
            assert in_order(order(model=method, prag={name: asked}))[name] == ordered
        else:
            refused = refusal(model=method, prag={name: asked})
            assert (refused.status, refused.param) == (400, f"prag.{name}")


def test_methods_of_several_rounds_choose_their_documents_and_draft_greedily() -> None:
    asked: dict[str, Any] = {
        "temperature": 0.1,
        "stop": ["."],
        "presence_penalty": 1.0,
        "frequency_penalty": -1.0,
    }
    for name, value in asked.items():
        assert refusal(model="flare+prag", **{name: value}).param == name
        assert order(model="prag", **{name: value})
    made = order(
        model="flare+prag", temperature=0, max_tokens=50, prag={"merge": "mean", "filter": {"kind": "place"}}
    )
    assert made.several_rounds and made.inquiry and made.decoding == Decoding(50) and made.merge == "mean"
    assert not order().several_rounds


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": "flare"}, "model"),
        ({"prag": {"method": "flare"}}, "prag.method"),
        ({"prag": {"merge": "sums"}}, "prag.merge"),
        ({"prag": {"top_k": 5}}, "prag.top_k"),
        ({"prag": {"doc_ids": list("abcde")}}, "prag.doc_ids"),
        ({"prag": {"doc_ids": ["a"], "filter": {"kind": "x"}}}, "prag.filter"),
        ({"prag": {"filter": {"kind": {"not": "x"}}}}, "prag.filter"),
        ({"max_tokens": 65}, "max_tokens"),
        ({"max_completion_tokens": 65}, "max_completion_tokens"),
        ({"stream_options": {}}, "stream_options"),
    ],
)
def test_what_is_beyond_the_bounds_is_named(fields: dict[str, Any], param: str) -> None:
    few = replace(BOUNDS, methods=("rag", "prag"))
    assert refusal(few, **fields).param == param


@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        ({"messages": [QUESTION | {"content": "x" * 501}]}, "messages", "501 characters; at most 500"),
        ({"messages": [QUESTION | {"content": "x" * 300}] * 2}, "messages", "600 characters; at most 500"),
        ({"prag": {"doc_ids": list("abcde")}}, "prag.doc_ids", "at most 4"),
        (
            {"prag": {"filter": {str(i): i for i in range(MAX_FIELDS + 1)}}},
            "prag.filter",
            "33 fields; at most 32",
        ),
        ({"prag": {"filter": {"a": [*range(MAX_VALUES + 1)]}}}, "prag.filter", "1001 values; at most 1000"),
        ({"prag": {"filter": {"a": ["x" * (MAX_VALUE_CHARACTERS + 1)]}}}, "prag.filter", "at most 1024"),
        ({"prag": {"filter": {"x" * (MAX_VALUE_CHARACTERS + 1): 1}}}, "prag.filter", "at most 1024"),
        ({"prag": {"filter": {"a": 10**5000}}}, "prag.filter", "at most 64 bits"),
    ],
)
def test_a_request_that_is_too_long_is_refused_with_the_limit(
    fields: dict[str, Any], param: str, message: str
) -> None:
    refused = refusal(**fields)
    assert (refused.status, refused.param) == (400, param) and message in refused.message


def test_a_prompt_that_is_too_long_is_refused_with_the_limit() -> None:
    with pytest.raises(Refused) as refused:
        check(CompletionRequest(model="rag", prompt="?" * 501), ANYONE, BOUNDS)
    assert refused.value.refusal.param == "prompt" and "at most 500" in refused.value.refusal.message
