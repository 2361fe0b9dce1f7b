"""API keys at the real endpoint: who is let in, what a tenant can find out by trying, and what is too much."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from tests.cluster.endpoint import Endpoint

PLACE, PERSON = "dev-000-place", "dev-021-person"
QUESTION = "In which country is Jelamnax?"
BODY = {"model": "rag", "messages": [{"role": "user", "content": QUESTION}]}


def ask(endpoint: Endpoint, key: str, **options: Any) -> Any:
    client = endpoint.client.with_options(api_key=endpoint.keys[key])
    messages: Any = [{"role": "user", "content": QUESTION}]
    return client.chat.completions.create(model="prag", messages=messages, extra_body={"prag": options})


def kinds(completion: Any) -> set[str]:
    return {document["doc_id"].rsplit("-", 1)[-1] for document in completion.prag["documents"]}


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer nonsense", "Basic {key}", "Bearer {key}x", "Bearer prag-00000000-x"]
)
def test_whatever_is_wrong_with_a_key_the_reply_is_the_same(endpoint: Endpoint, header: str) -> None:
    headers = {"authorization": header.format(key=endpoint.keys["all"])}
    replies = [
        endpoint.http.post("/v1/chat/completions", json=BODY, headers=headers),
        endpoint.http.get("/v1/models", headers=headers),
        endpoint.http.get("/v1/models/nothing", headers=headers),
    ]
    for reply in replies:
        assert reply.status_code == 401 and reply.headers["www-authenticate"] == "Bearer"
        assert reply.json() == replies[0].json() and reply.json()["error"]["code"] == "invalid_api_key"


def test_a_tenant_retrieves_only_what_its_key_lets_through(endpoint: Endpoint) -> None:
    assert kinds(ask(endpoint, "all")) == {"place", "person"}
    assert kinds(ask(endpoint, "places")) == {"place"}
    assert kinds(ask(endpoint, "people")) == {"person"}


def test_a_filter_narrows_a_key_and_never_widens_it(endpoint: Endpoint) -> None:
    assert kinds(ask(endpoint, "all", filter={"kind": "place"})) == {"place"}
    assert kinds(ask(endpoint, "all", filter={"kind": ["place", "person"]})) == {"place", "person"}
    assert kinds(ask(endpoint, "places", filter={"kind": "person"})) == set()
    assert kinds(ask(endpoint, "places", filter={"split": "dev"})) == {"place"}
    with pytest.raises(openai.BadRequestError) as refused:
        ask(endpoint, "all", filter={"kind": {"not": "place"}})
    assert refused.value.param == "prag.filter"


def test_a_forbidden_and_an_unknown_document_get_the_same_reply(endpoint: Endpoint) -> None:
    assert kinds(ask(endpoint, "people", doc_ids=[PERSON])) == {"person"}
    replies = []
    for doc_id in (PLACE, "dev-999-place"):
        headers = {"authorization": f"Bearer {endpoint.keys['people']}"}
        body = BODY | {"prag": {"doc_ids": [PERSON, doc_id]}}
        reply = endpoint.http.post("/v1/chat/completions", json=body, headers=headers)
        told = {name: value for name, value in reply.headers.items() if name not in ("date", "x-request-id")}
        replies.append((reply.status_code, json.dumps(told), reply.text.replace(doc_id, "…")))
    assert replies[0] == replies[1] and replies[0][0] == 404


def test_what_one_tenant_has_loaded_is_not_warm_for_another(endpoint: Endpoint) -> None:
    """The same documents: warm for who asked before, cold for who did not, so times tell nothing."""
    ids = [document["doc_id"] for document in ask(endpoint, "all", top_k=2).prag["documents"]]
    ask(endpoint, "all", doc_ids=ids)
    again = ask(endpoint, "all", doc_ids=ids)
    assert again.prag["timings_ms"]["merge"] == 0
    other = ask(endpoint, "also_all", doc_ids=ids)
    assert other.prag["timings_ms"]["merge"] > 0
    assert other.choices[0].message.content == again.choices[0].message.content


def test_beyond_a_keys_limits_requests_are_turned_away_with_a_time_to_come_back(endpoint: Endpoint) -> None:
    for _ in range(2):
        ask(endpoint, "slow")
    with pytest.raises(openai.RateLimitError) as refused:
        ask(endpoint, "slow")
    assert refused.value.code == "rate_limit_exceeded"
    assert 0 < int(refused.value.response.headers["retry-after"]) <= 60
    ask(endpoint, "all")


def test_alive_and_ready_need_no_key(endpoint: Endpoint) -> None:
    for route in ("/health", "/ready"):
        assert endpoint.http.get(route, headers={"authorization": ""}).status_code == 200
