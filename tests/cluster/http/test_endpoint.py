"""The endpoint as its users meet it: a real server, driven by the openai client."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from random import Random
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from prag_core.answering.registry import METHODS
from prag_core.answering.tools import open_tools
from prag_core.config.schema import EngineKind
from prag_core.merging import RULES
from prag_core.records import Question
from tests.cluster.endpoint import DAMAGED, Endpoint
from tests.cluster.endpoint import METHODS as OFFERED


def ask(endpoint: Endpoint, method: str, question: str, **more: Any) -> Any:
    messages: Any = [{"role": "user", "content": question}]
    return endpoint.client.chat.completions.create(model=method, messages=messages, **more)


def prag(**options: Any) -> dict[str, Any]:
    return {"extra_body": {"prag": options}}


def test_the_models_are_the_methods(endpoint: Endpoint) -> None:
    assert [model.id for model in endpoint.client.models.list()] == OFFERED
    assert endpoint.client.models.retrieve("combine").id == "combine"
    found: Any = endpoint.client.models.retrieve("flare")
    assert found.prag == {"retrieves": True, "adapters": False, "several_rounds": True}


def test_alive_and_ready(endpoint: Endpoint) -> None:
    assert endpoint.http.get("/health").json() == {"status": "alive"}
    assert endpoint.http.get("/ready").json() == {"status": "ready"}


def test_every_method_of_one_round_answers_as_prag_ask_does(endpoint: Endpoint, questions: list[str]) -> None:
    """Text, passages, scores and degradations, against the transformers and PEFT engine in this process."""
    engine = replace(endpoint.config.engine, kind=EngineKind.transformers)
    asked = [Question("", question, ()) for question in questions[:8]]
    with open_tools(replace(endpoint.config, engine=engine), {"": endpoint.config.bank.uri}) as tools:
        expected = {name: METHODS[name].answer(asked, tools[""]) for name in OFFERED[:5]}
    for name, answers in expected.items():
        for question, answer in zip(asked, answers, strict=True):
            completion = ask(endpoint, name, question.question)
            assert completion.choices[0].message.content == answer.text
            found = [(d["doc_id"], d["chunk"], d["score"]) for d in completion.prag["documents"]]
            assert found == [(p.doc_id, p.chunk, pytest.approx(p.score)) for p in answer.passages]
            merged = [(d["doc_id"], d["chunk"]) for d in completion.prag["documents"] if d["adapter"]]
            assert merged == list(answer.adapters)
            degraded = [((d["doc_id"], d["chunk"]), d["reason"]) for d in completion.prag["degraded"]]
            assert degraded == list(answer.degraded)


def test_concurrent_requests_each_get_the_answer_of_their_own_documents(
    endpoint: Endpoint, questions_about: dict[str, list[str]]
) -> None:
    """200 at once over 50 sets of documents, against the oracle one by one; none may get another request's adapter."""
    random = Random(0)
    usable = [doc_id for doc_id in questions_about if doc_id != DAMAGED]
    sets = [random.sample(usable, 3) for _ in range(50)]
    about = [[question for doc_id in documents for question in questions_about[doc_id]] for documents in sets]
    every = [question for asked in about for question in asked]
    wanted = [
        (random.choice(asked or every), documents)
        for documents, asked in zip(sets, about, strict=True)
        for _ in range(4)
    ]
    expected, bare = oracle_answers(endpoint, wanted)
    found = asyncio.run(all_at_once(endpoint, wanted))
    same = sum(text == answer for text, answer in zip(found, expected, strict=True))
    changed = sum(answer != without for answer, without in zip(expected, bare, strict=True))
    print(
        f"{same} of {len(found)} as the oracle answers, whose answers differ from closed book's in {changed}"
    )
    assert len({tuple(sorted(documents)) for documents in sets}) == 50
    assert len(found) == 200 and changed >= 0.9 * len(found)
    assert same >= 0.99 * len(found)


def oracle_answers(endpoint: Endpoint, wanted: list[tuple[str, list[str]]]) -> tuple[list[str], list[str]]:
    """Of P-RAG over exactly those documents, and of closed book, by the transformers and PEFT engine."""
    engine = replace(endpoint.config.engine, kind=EngineKind.transformers)
    asked = [Question("", question, (), tuple(documents)) for question, documents in wanted]
    with open_tools(replace(endpoint.config, engine=engine), {"": endpoint.config.bank.uri}) as tools:
        answers = [
            [a.text for a in METHODS[name].answer(asked, tools[""])] for name in ("prag_gold", "closed_book")
        ]
    return answers[0], answers[1]


async def all_at_once(endpoint: Endpoint, wanted: list[tuple[str, list[str]]]) -> list[str]:
    async with AsyncOpenAI(
        base_url=endpoint.url, api_key=endpoint.keys["all"], max_retries=0, timeout=120
    ) as client:

        async def one(question: str, documents: list[str]) -> str:
            messages: Any = [{"role": "user", "content": question}]
            body = {"prag": {"doc_ids": documents}}
            completion = await client.chat.completions.create(
                model="prag", messages=messages, extra_body=body
            )
            return completion.choices[0].message.content or ""

        return await asyncio.gather(*[one(question, documents) for question, documents in wanted])


@pytest.mark.parametrize("usage", [True, False])
def test_a_stream_is_the_whole_answer_in_pieces(
    endpoint: Endpoint, questions: list[str], usage: bool
) -> None:
    whole = ask(endpoint, "combine", questions[0])
    options: Any = {"stream_options": {"include_usage": True}} if usage else {}
    chunks = list(ask(endpoint, "combine", questions[0], stream=True, **options))
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert (
        "".join(pieces) == whole.choices[0].message.content and len([piece for piece in pieces if piece]) > 1
    )
    assert {chunk.id for chunk in chunks} == {chunks[0].id}
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == [
        "stop"
    ]
    assert chunks[-1].prag["documents"] == whole.prag["documents"]
    assert not any(getattr(chunk, "prag", None) for chunk in chunks[:-1])
    assert (chunks[-1].usage == whole.usage) if usage else chunks[-1].usage is None


def test_a_stream_ends_with_done(endpoint: Endpoint, questions: list[str]) -> None:
    body = {"model": "prag", "stream": True, "messages": [{"role": "user", "content": questions[0]}]}
    reply = endpoint.http.post("/v1/chat/completions", json=body)
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.text.endswith("data: [DONE]\n\n")


def test_completions_take_the_prompt_as_the_question(endpoint: Endpoint, questions: list[str]) -> None:
    chat = ask(endpoint, "prag", questions[1])
    whole = endpoint.client.completions.create(model="prag", prompt=questions[1])
    assert whole.choices[0].text == chat.choices[0].message.content
    streamed = endpoint.client.completions.create(model="prag", prompt=questions[1], stream=True)
    assert "".join(chunk.choices[0].text for chunk in streamed) == whole.choices[0].text


def test_the_method_in_the_body_wins_over_the_model(endpoint: Endpoint, questions: list[str]) -> None:
    completion = ask(endpoint, "closed_book", questions[0], **prag(method="rag", trace=True))
    assert completion.model == "closed_book" and completion.prag["method"] == "rag"
    assert {document["used_as"] for document in completion.prag["documents"]} == {"text"}
    assert all(document["text"] for document in completion.prag["documents"])


def test_earlier_turns_and_a_system_message_are_in_the_prompt_and_not_in_the_query(
    endpoint: Endpoint, questions: list[str]
) -> None:
    short = ask(endpoint, "rag", questions[0])
    before = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": questions[5]}]
    messages: Any = [
        *before,
        {"role": "assistant", "content": "No."},
        {"role": "user", "content": questions[0]},
    ]
    long = endpoint.client.chat.completions.create(model="rag", messages=messages)
    assert long.prag["documents"] == short.prag["documents"]  # type: ignore[attr-defined]
    assert long.usage and long.usage.prompt_tokens > short.usage.prompt_tokens + 20


def test_exact_documents_in_the_order_asked(endpoint: Endpoint, questions: list[str]) -> None:
    ids = ["dev-021-person", "dev-000-place"]
    completion = ask(endpoint, "prag", questions[0], **prag(doc_ids=ids))
    assert [document["doc_id"] for document in completion.prag["documents"]] == ids
    assert [document["used_as"] for document in completion.prag["documents"]] == ["adapter", "adapter"]


@pytest.mark.parametrize("rule", RULES)
def test_every_merge_rule_answers_as_in_one_process(
    endpoint: Endpoint, merged_in_process: Any, rule: str
) -> None:
    question, expected = merged_in_process
    assert ask(endpoint, "prag", question, **prag(merge=rule)).choices[0].message.content == expected[rule]


@pytest.fixture(scope="module")
def merged_in_process(endpoint: Endpoint, questions: list[str]) -> tuple[str, dict[str, str]]:
    """A question, and P-RAG's answers by merge rule from the transformers and PEFT engine."""
    config, asked = endpoint.config, [Question("", questions[0], ())]
    config = replace(config, engine=replace(config.engine, kind=EngineKind.transformers))
    with open_tools(config, {"": config.bank.uri}) as tools:
        by_rule = {rule: replace(tools[""], merge=replace(config.merge, rule=rule)) for rule in RULES}
        return questions[0], {
            rule: METHODS["prag"].answer(asked, tool)[0].text for rule, tool in by_rule.items()
        }


def test_a_damaged_adapter_degrades_its_document_to_text_and_the_answer_says_so(
    endpoint: Endpoint, questions: list[str]
) -> None:
    completion = ask(endpoint, "prag", questions[0], **prag(doc_ids=["dev-000-place", DAMAGED]))
    assert [document["used_as"] for document in completion.prag["documents"]] == ["adapter", "text"]
    assert [(d["doc_id"], bool(d["reason"])) for d in completion.prag["degraded"]] == [(DAMAGED, True)]
    assert endpoint.config.bank.uri not in json.dumps(completion.prag["degraded"])
    without = ask(endpoint, "prag", questions[0], **prag(doc_ids=["dev-000-place"]))
    assert completion.usage.prompt_tokens > without.usage.prompt_tokens


def test_the_reply_says_what_it_rests_on(endpoint: Endpoint, questions: list[str]) -> None:
    completion = ask(endpoint, "prag", questions[0], **prag(top_k=2, trace=True))
    assert len(completion.prag["documents"]) == 2
    assert all(len(document["adapter"]) == 64 for document in completion.prag["documents"])
    timings = completion.prag["timings_ms"]
    assert list(timings) == ["retrieve", "fetch", "merge", "install", "first_token", "total"]
    assert 0 < timings["first_token"] <= timings["total"]
    assert completion.prag["trace"]["rank"] == 4 and completion.prag["trace"]["rule"] == "sum"
    cosine = completion.prag["trace"]["interference"]["cosine"]
    assert (
        cosine[0][1] == pytest.approx(completion.prag["trace"]["interference"]["mean"])
        and abs(cosine[0][1]) < 1
    )
    assert completion.prag["snapshot"].startswith("0000000")


def test_sampling_follows_its_seed_and_text_ends_before_a_stop_string(
    endpoint: Endpoint, questions: list[str]
) -> None:
    def sampled(seed: int) -> str:
        return str(
            ask(endpoint, "prag", questions[0], temperature=1.5, seed=seed, max_tokens=24)
            .choices[0]
            .message.content
        )

    assert sampled(1) == sampled(1) and len({sampled(seed) for seed in range(6)}) > 1
    text = ask(endpoint, "rag", questions[0]).choices[0].message.content
    cut = ask(endpoint, "rag", questions[0], stop=text[3:5]).choices[0]
    assert cut.message.content == text[:3] and cut.finish_reason == "stop"
    short = ask(endpoint, "rag", questions[0], max_tokens=1)
    assert short.choices[0].finish_reason == "length" and short.usage.completion_tokens == 1


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"logprobs": True}, "logprobs"),
        ({"n": 2}, "n"),
        ({"temperature": 3}, "temperature"),
        ({"max_tokens": 10_000}, "max_tokens"),
        ({"extra_body": {"prag": {"top_q": 3}}}, "prag.top_q"),
        ({"extra_body": {"prag": {"top_k": 40}}}, "prag.top_k"),
        ({"extra_body": {"prag": {"top_k": "3"}}}, "prag.top_k"),
        ({"extra_body": {"prag": {"merge": "average"}}}, "prag.merge"),
        ({"extra_body": {"prag": {"method": "rag_gold"}}}, "prag.method"),
        ({"extra_body": {"prag": {"method": "rag", "merge": "sum"}}}, "prag.merge"),
        ({"extra_body": {"prag": {"method": "closed_book", "top_k": 1}}}, "prag.top_k"),
        ({"extra_body": {"prag": {"doc_ids": ["dev-000-place"], "top_k": 1}}}, "prag.top_k"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
    ],
)
def test_what_cannot_be_honoured_is_refused_and_named(
    endpoint: Endpoint, more: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        ask(endpoint, "prag", "Where is Jelamnax?", **more)
    assert refused.value.param == param and refused.value.type == "invalid_request_error"


def test_unknown_models_documents_and_routes_are_not_found(endpoint: Endpoint) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        ask(endpoint, "gpt-4", "Where is Jelamnax?")
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError) as missing:
        ask(endpoint, "prag", "Where is Jelamnax?", **prag(doc_ids=["nowhere"]))
    assert missing.value.code == "document_not_found"
    assert endpoint.http.get("/v1/nothing").json()["error"]["type"] == "invalid_request_error"
    wrong = endpoint.http.get("/v1/completions")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST") and wrong.json()["error"]["message"]
    head = endpoint.http.head("/health")
    assert (head.status_code, head.content) == (200, b"")


def test_a_page_of_an_allowed_origin_may_ask(endpoint: Endpoint) -> None:
    (origin,) = endpoint.config.serve.cors_origins
    asked = {"origin": origin, "access-control-request-method": "POST"}
    preflight = endpoint.http.options("/v1/chat/completions", headers=asked)
    assert preflight.status_code == 200 and preflight.headers["access-control-allow-origin"] == origin


def test_bodies_and_prompts_that_are_too_long_are_refused(endpoint: Endpoint) -> None:
    long = {"model": "prag", "messages": [{"role": "user", "content": "x" * 600_000}]}
    assert endpoint.http.post("/v1/chat/completions", json=long).status_code == 413
    with pytest.raises(openai.BadRequestError) as refused:
        ask(endpoint, "rag", "Where is Jelamnax? " * 2000)
    assert refused.value.code == "context_length_exceeded"
    assert endpoint.http.post("/v1/chat/completions", content=b"{").json()["error"]["code"] == "invalid_value"


def test_a_request_id_comes_back(endpoint: Endpoint) -> None:
    body = {"model": "closed_book", "messages": [{"role": "user", "content": "Where is Jelamnax?"}]}
    reply = endpoint.http.post("/v1/chat/completions", json=body, headers={"x-request-id": "mine-17"})
    assert reply.headers.get_list("x-request-id") == ["mine-17"]
    assert reply.json()["id"] == "chatcmpl-mine-17"
    assert endpoint.http.post("/v1/chat/completions", json={}).headers["x-request-id"]
