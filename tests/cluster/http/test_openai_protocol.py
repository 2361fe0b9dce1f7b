"""The openai client's requests pass, or are refused with the parameter that cannot be honoured."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletion

from cluster.http.openai_protocol import MAX_DOC_IDS, MAX_MESSAGES, ChatRequest, parse
from cluster.records import Order, Refused
from tests.cluster.stand_ins import Handle, elbonia, transport

QUESTION: dict[str, Any] = {"role": "user", "content": "Where is Jelamnax?"}


def client(handle: Handle) -> AsyncOpenAI:
    http: Any = httpx.AsyncClient(transport=transport(handle))
    return AsyncOpenAI(base_url="http://test/v1", api_key="none", max_retries=0, http_client=http)


def ask(messages: list[Any] | None = None, **parameters: Any) -> tuple[ChatCompletion, Order]:
    """A reply to the client, and the order that the generator got for it."""

    async def scenario() -> ChatCompletion:
        async with client(handle) as openai_client:
            create: Any = openai_client.chat.completions.create
            reply: ChatCompletion = await create(model="rag", messages=messages or [QUESTION], **parameters)
            return reply

    handle = Handle(elbonia)
    reply = asyncio.run(scenario())
    return reply, handle.tasks[0].order


@pytest.mark.parametrize(
    "parameters",
    [
        {"logprobs": None},
        {"logprobs": False},
        {"top_logprobs": None},
        {"stream": None},
        {"stop": None, "temperature": None, "max_tokens": None, "seed": None, "n": 1},
        {"tools": []},
        {"tools": [], "tool_choice": "none", "parallel_tool_calls": True},
        {"tool_choice": "auto"},
        {"functions": [], "function_call": "none"},
        {"user": "u", "safety_identifier": "u", "prompt_cache_key": "k"},
        {"metadata": {"purpose": "test"}},
        {"store": False},
        {"service_tier": "auto"},
        {"logit_bias": {}},
        {"response_format": {"type": "text"}},
        {"modalities": ["text"]},
        {"reasoning_effort": None, "audio": None, "prediction": None, "web_search_options": None},
        {"extra_body": {"prag": None}},
        {"extra_body": {"prag": {"top_k": None, "filter": None, "doc_ids": ["a"], "trace": None}}},
    ],
)
def test_parameters_that_ask_for_nothing_pass(parameters: dict[str, Any]) -> None:
    reply, _ = ask(**parameters)
    assert reply.choices[0].message.content == "Elbonia."


def test_a_reply_can_be_sent_back_as_the_client_holds_it() -> None:
    """The client's dump of a message has a null for everything that the message does not have."""
    first, _ = ask()
    messages = [QUESTION, first.choices[0].message.model_dump(), QUESTION]
    _, order = ask(messages)
    assert order.earlier == (QUESTION, {"role": "assistant", "content": "Elbonia."})
    _, order = ask([QUESTION, first.choices[0].message, QUESTION])  # the object itself
    assert order.earlier[1] == {"role": "assistant", "content": "Elbonia."}


@pytest.mark.parametrize(
    "turn",
    [
        {"role": "developer", "content": "Be brief."},
        {"role": "system", "content": "Be brief.", "name": "operator"},
        {"role": "user", "content": [{"type": "text", "text": "Who?"}], "name": "Ada"},
        {"role": "assistant", "content": None},
        {"role": "assistant", "content": "Here.", "tool_calls": [], "refusal": None},
    ],
)
def test_turns_of_every_kind_pass_in_the_history(turn: dict[str, Any]) -> None:
    reply, order = ask([turn, QUESTION])
    assert reply.choices[0].message.content == "Elbonia." and len(order.earlier) == 1


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ({"logprobs": True}, "logprobs"),
        ({"logprobs": True, "top_logprobs": 3}, "logprobs"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"n": 2}, "n"),
        ({"store": True}, "store"),
        ({"service_tier": "priority"}, "service_tier"),
        ({"logit_bias": {"50256": -100}}, "logit_bias"),
        ({"response_format": {"type": "json_object"}}, "response_format.type"),
        ({"modalities": ["text", "audio"]}, "modalities.1"),
        ({"reasoning_effort": "low"}, "reasoning_effort"),
        ({"extra_body": {"prag": {"top_q": 3}}}, "prag.top_q"),
        ({"extra_body": {"best_of": 1}}, "best_of"),
    ],
)
def test_parameters_that_would_change_the_answer_are_refused_by_name(
    parameters: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        ask(**parameters)
    assert refused.value.param == param and refused.value.type == "invalid_request_error"


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([{"role": "user", "content": None}], "messages.0"),
        ([{"role": "tool", "content": "4", "tool_call_id": "c"}, QUESTION], "messages.0.role"),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u"}}]}],
            "messages.0.content",
        ),
        ([{"role": "assistant", "tool_calls": [{"id": "c"}]}, QUESTION], "messages.0.tool_calls"),
    ],
)
def test_messages_that_cannot_be_read_are_refused_by_place(messages: list[Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        ask(messages)
    assert refused.value.param == param


@pytest.mark.parametrize(
    ("field", "limit"),
    [
        ({"messages": [QUESTION] * (MAX_MESSAGES + 1)}, f"at most {MAX_MESSAGES} items"),
        (
            {"messages": [QUESTION], "prag": {"doc_ids": ["a"] * (MAX_DOC_IDS + 1)}},
            f"at most {MAX_DOC_IDS} items",
        ),
        ({"messages": [QUESTION], "prag": {"doc_ids": ["a" * 1025]}}, "at most 1024 characters"),
        ({"messages": [QUESTION], "prag": {"top_k": 10**12}}, "less than 2147483648"),
    ],
)
def test_lists_and_texts_that_are_too_long_are_refused_with_the_limit(
    field: dict[str, Any], limit: str
) -> None:
    with pytest.raises(Refused) as refused:
        parse(ChatRequest, json.dumps({"model": "rag"} | field).encode())
    assert refused.value.refusal.status == 400 and limit in refused.value.refusal.message
