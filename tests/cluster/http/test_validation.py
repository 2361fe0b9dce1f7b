"""What a request comes down to, and what is refused before anything is computed for it."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.bounds import Bounds
from cluster.http.openai_protocol import ChatRequest, CompletionRequest
from cluster.http.validation import ANYONE, Caller, Order, check
from cluster.records import Inquiry, Refused
from prag_core.answering.registry import SERVED
from prag_core.engines.base import Decoding
from prag_core.retrieval import Filter

BOUNDS = Bounds(tuple(SERVED), 3, 4, 20, 64, 10_000, 2, 0.5)
QUESTION = {"role": "user", "content": "Where is it?"}


def checked(caller: Caller = ANYONE, bounds: Bounds = BOUNDS, **fields: Any) -> Order | Refused:
    return check(
        ChatRequest.model_validate({"model": "prag", "messages": [QUESTION]} | fields), caller, bounds
    )


def order(**fields: Any) -> Order:
    made = checked(**fields)
    assert isinstance(made, Order), made
    return made


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
    assert isinstance(prompt, Order) and (prompt.question, prompt.earlier) == ("Who?", ())
    for messages in (
        [*before, QUESTION, {"role": "assistant", "content": "Here."}],
        [QUESTION | {"content": " "}],
    ):
        refused = checked(messages=messages)
        assert isinstance(refused, Refused) and refused.param == "messages"


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


@pytest.mark.parametrize("method", SERVED)
def test_every_method_is_told_which_options_it_has_no_use_for(method: str) -> None:
    """None is dropped in silence: it is in the order, or refused by its name."""
    options = {"top_k": 2, "filter": {"kind": ["place"]}, "merge": "mean", "doc_ids": ["a", "a"]}
    honoured = {
        "top_k": lambda made: made.inquiry.top_k == 2,
        "filter": lambda made: (
            made.inquiry.where.allows({"kind": "place"}) and not made.inquiry.where.allows({})
        ),
        "merge": lambda made: made.merge == "mean",
        "doc_ids": lambda made: made.inquiry.doc_ids == ("a",) and not made.several_rounds,
    }
    for name, value in options.items():
        made = checked(model=method, prag={name: value})
        if isinstance(made, Refused):
            assert (made.status, made.param) == (400, f"prag.{name}")
        else:
            assert honoured[name](made)


def test_methods_of_several_rounds_choose_their_documents_and_draft_greedily() -> None:
    for name, value in (
        ("temperature", 0.1),
        ("stop", ["."]),
        ("presence_penalty", 1.0),
        ("frequency_penalty", -1.0),
    ):
        refused = checked(model="flare+prag", **{name: value})
        assert isinstance(refused, Refused) and refused.param == name
        assert isinstance(checked(model="prag", **{name: value}), Order)
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
    few = Bounds(("rag", "prag"), 3, 4, 20, 64, 10_000, 2, 0.5)
    refused = checked(bounds=few, **fields)
    assert isinstance(refused, Refused) and refused.param == param
