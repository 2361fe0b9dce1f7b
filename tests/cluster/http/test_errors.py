"""Whatever goes wrong, the reply is one OpenAI error object, with the headers that belong to its status."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from cluster.http.errors import error_object
from cluster.records import Begun, Delta, Refusal, Task
from tests.cluster.stand_ins import BOUNDS, Handle, Metrics, Replies, elbonia, transport

BODY = {"model": "rag", "messages": [{"role": "user", "content": "Where is Jelamnax?"}]}


def send(
    method: str, path: str, handle: Handle | None = None, metrics: Metrics | None = None, **more: Any
) -> Any:
    async def scenario() -> httpx.Response:
        app = transport(handle or Handle(elbonia), metrics)
        app.raise_app_exceptions = False
        async with httpx.AsyncClient(transport=app, base_url="http://test") as http:
            return await http.request(method, path, **more)

    return asyncio.run(scenario())


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/v1/nothing", 404, None),
        ("GET", "/v1/chat/completions", 405, "POST"),
        ("DELETE", "/v1/completions", 405, "POST"),
        ("POST", "/v1/models", 405, "GET, HEAD"),
        ("OPTIONS", "/v1/chat/completions", 405, "POST"),
        ("PUT", "/", 405, "GET, HEAD"),
    ],
)
def test_unknown_paths_and_methods_get_an_error_object(
    method: str, path: str, status: int, allow: str | None
) -> None:
    reply = send(method, path)
    error = reply.json()["error"]
    assert reply.status_code == status and error["type"] == "invalid_request_error"
    assert error["message"].startswith(f"{method} {path}: ") and error["param"] is None
    expected = None if allow is None else set(allow.split(", "))
    assert (set(reply.headers["allow"].split(", ")) if "allow" in reply.headers else None) == expected


@pytest.mark.parametrize("path", ["/", "/app.js", "/v1/models", "/v1/models/rag", "/health", "/ready"])
def test_head_is_answered_where_get_is(path: str) -> None:
    head, get = send("HEAD", path), send("GET", path)
    assert head.status_code == get.status_code == 200
    assert head.headers["content-type"] == get.headers["content-type"]
    assert head.headers["content-length"] == get.headers["content-length"]


def test_a_body_that_does_not_arrive_in_time_is_a_408() -> None:
    async def slow() -> Any:
        yield b"{"
        await asyncio.sleep(60)

    metrics = Metrics()
    reply = send("POST", "/v1/completions", metrics=metrics, content=slow())
    assert reply.status_code == 408 and reply.json()["error"]["code"] == "request_timeout"
    assert f"{BOUNDS.timeout_seconds} s" in reply.json()["error"]["message"]
    assert metrics.now == 0 and metrics.statuses == [(408, "request_timeout")]


def test_a_body_that_is_too_long_is_a_413_with_the_limit() -> None:
    reply = send("POST", "/v1/completions", content=b"x" * (BOUNDS.max_body_bytes + 1))
    assert reply.status_code == 413 and str(BOUNDS.max_body_bytes) in reply.json()["error"]["message"]


def test_a_defect_is_a_500_that_tells_nothing_of_it() -> None:
    def broken(task: Task) -> Any:
        raise RuntimeError("the secret reason")

    metrics = Metrics()
    reply = send("POST", "/v1/chat/completions", Handle(broken), metrics, json=BODY)
    assert reply.status_code == 500 and reply.json()["error"]["type"] == "server_error"
    assert "secret" not in reply.text and metrics.statuses == [(500, "internal_error")]


def test_a_defect_within_a_stream_is_an_error_event_and_no_done() -> None:
    class Broken(Replies):
        async def __anext__(self) -> Any:
            try:
                return await super().__anext__()
            except StopAsyncIteration:
                raise RuntimeError("the secret reason") from None

    metrics = Metrics()
    handle = Handle(lambda _: Broken(Begun(prompt_tokens=5), Delta("Elb", 1)))
    reply = send("POST", "/v1/chat/completions", handle, metrics, json=BODY | {"stream": True})
    assert reply.status_code == 200 and "[DONE]" not in reply.text and "secret" not in reply.text
    last = json.loads(reply.text.strip().splitlines()[-1].removeprefix("data: "))
    assert last["error"]["code"] == "internal_error" and metrics.statuses == [(500, "broken_off")]


def test_a_route_that_fails_outside_of_a_request_for_an_answer_gets_one_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(name: str) -> Any:
        raise RuntimeError("the secret reason")

    monkeypatch.setattr("cluster.http.endpoint.model_object", broken)
    reply = send("GET", "/v1/models")
    assert reply.status_code == 500 and reply.json()["error"]["code"] == "internal_error"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (404, "invalid_request_error"),
        (429, "rate_limit_error"),
        (503, "server_error"),
    ],
)
def test_the_type_of_an_error_follows_its_status(status: int, kind: str) -> None:
    assert error_object(Refusal(status, "m", "p", "c")) == {
        "error": {"message": "m", "type": kind, "param": "p", "code": "c"}
    }
