"""A request waits only so long, and only so many wait. The deployments behind are stand-ins."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, MutableMapping
from contextlib import suppress
from typing import Any

import httpx
import pytest

from cluster.http.endpoint import Endpoint
from cluster.keys.allowance import Limiter, LimitExceeded
from cluster.keys.gate import Gate
from cluster.keys.keys import ApiKey, Limits
from cluster.records import Begun, Delta, Done, Event, Found, Inquiry, Order, Refusal, Refused, Stale, Usage
from cluster.service import Answering, Service
from prag_core.engines.base import Decoding
from prag_core.errors import EngineDiedError
from tests.cluster.stand_ins import BOUNDS, Call, Handle, Hanging, Metrics, Replies, elbonia, transport

ANY_TASK: Any = None
BODY = {"model": "prag", "messages": [{"role": "user", "content": "Where is Jelamnax?"}]}


def client(metrics: Metrics, handle: Handle | None = None) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=transport(handle or Handle(), metrics), base_url="http://test")


@pytest.mark.parametrize("stream", [False, True])
def test_beyond_the_bound_requests_are_turned_away_at_once_and_the_others_end_in_time(stream: bool) -> None:
    async def scenario() -> None:
        metrics = Metrics()
        async with client(metrics) as http:
            replies = await asyncio.gather(
                *[http.post("/v1/chat/completions", json=BODY | {"stream": stream}) for _ in range(5)]
            )
        codes = sorted(reply.json()["error"]["code"] for reply in replies)
        assert codes == ["overloaded"] * 3 + ["timeout"] * 2
        assert all(reply.status_code == 503 and int(reply.headers["retry-after"]) > 0 for reply in replies)
        assert metrics.now == 0 and len(metrics.statuses) == 5

    Hanging.cancelled = 0
    asyncio.run(scenario())
    assert Hanging.cancelled == 2


def test_not_ready_while_no_engine_answers() -> None:
    async def gone() -> None:
        raise EngineDiedError("the engine ended")

    async def scenario() -> None:
        handle = Handle()
        handle.status = Call(gone)
        async with client(Metrics(), handle) as http:
            reply = await http.get("/ready")
        assert reply.status_code == 503 and reply.json()["error"]["code"] == "not_ready"

    asyncio.run(scenario())


def test_a_request_whose_documents_are_deleted_under_it_is_retrieved_again_having_seen_that() -> None:
    async def scenario() -> None:
        answers = [
            Replies(Stale(7)),
            elbonia(ANY_TASK),
        ]
        handle = Handle(lambda _: answers.pop(0))
        async with client(Metrics(), handle) as http:
            reply = (await http.post("/v1/chat/completions", json=BODY)).json()
        assert (
            reply["choices"][0]["message"]["content"] == "Elbonia."
            and reply["prag"]["snapshot"] == "snapshot-2"
        )
        assert [inquiry.at_least for inquiry in handle.inquiries] == [0, 7]

    asyncio.run(scenario())


def test_a_method_of_several_rounds_retrieves_by_itself_from_a_snapshot_that_is_newer_than_what_was_deleted() -> (
    None
):
    async def scenario() -> None:
        answers = [Replies(Stale(7)), elbonia(ANY_TASK)]
        handle = Handle(lambda _: answers.pop(0))
        async with client(Metrics(), handle) as http:
            reply = (await http.post("/v1/chat/completions", json=BODY | {"model": "flare"})).json()
        assert reply["prag"]["snapshot"] == "snapshot-now" and handle.inquiries == []
        assert [task.found for task in handle.tasks] == [Found("snapshot-now", 0), Found("snapshot-now", 7)]
        assert handle.tasks[0].order.inquiry == Inquiry("Where is Jelamnax?", 3)

    asyncio.run(scenario())


def test_a_stream_whose_client_leaves_before_its_first_byte_is_counted_as_ended() -> None:
    class Gone(Exception):
        """What a server raises from `send` when nobody is there."""

    async def scenario() -> None:
        metrics, given = Metrics(), list[dict[str, Any]]()
        handle = Handle(elbonia)
        deployments: Any = handle
        counted: Any = metrics
        service: Any = Service(deployments, deployments, BOUNDS)
        app = Endpoint(service, Gate(None), counted).app()
        body = json.dumps(BODY | {"stream": True}).encode()

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: MutableMapping[str, Any]) -> None:
            given.append(dict(message))
            raise Gone

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/chat/completions",
            "query_string": b"",
            "headers": [],
        }
        with pytest.raises(Gone):
            await app(scope | {"asgi": {"spec_version": "2.4"}}, receive, send)
        assert [message["type"] for message in given] == ["http.response.start"]
        assert metrics.now == 0 and metrics.statuses == [(499, "broken_off")] and service._in_flight == 0

    asyncio.run(scenario())


def test_an_engine_that_dies_within_a_stream_ends_it_with_an_error_and_without_done() -> None:
    async def scenario() -> None:
        died = Refusal(503, "the engine ended", code="engine_unavailable", retry_after=5)
        handle = Handle(lambda _: Replies(Begun(prompt_tokens=5), Delta("Elb", 1), died))
        async with client(Metrics(), handle) as http:
            streamed = await http.post("/v1/chat/completions", json=BODY | {"stream": True})
            whole = await http.post("/v1/chat/completions", json=BODY)
        assert streamed.status_code == 200 and '"code":"engine_unavailable"' in streamed.text
        assert "[DONE]" not in streamed.text
        assert whole.status_code == 503 and whole.headers["retry-after"] == "5"

    asyncio.run(scenario())


DIED = Refusal(503, "the engine ended", code="engine_unavailable")
MANY = (Begun(prompt_tokens=40), Delta("Elb", 250), Delta("onia", 500))


@pytest.mark.parametrize(
    ("attempts", "listens_to", "tokens"),
    [
        pytest.param([Replies(*MANY, Done("stop", 501))], None, 541, id="complete"),
        pytest.param([Hanging(*MANY)], 3, 540, id="its client leaves after the last piece"),
        pytest.param([Hanging(*MANY)], None, 540, id="it takes too long"),
        pytest.param([Hanging(Usage(40, 0), Usage(300, 25))], None, 325, id="several rounds take too long"),
        pytest.param([Replies(*MANY, DIED)], None, 540, id="its engine dies"),
        pytest.param(
            [Replies(Usage(40, 20), Stale(7)), Replies(*MANY, Done("stop", 501))],
            None,
            601,
            id="begun again",
        ),
        pytest.param([Hanging()], None, 0, id="nothing is generated"),
    ],
)
def test_what_was_generated_is_charged_however_the_request_ends(
    attempts: list[Any], listens_to: int | None, tokens: int
) -> None:
    key = ApiKey("k", "name", "", "", Limits(tokens_per_minute=1000))
    limiter = Limiter(clock=lambda: 0.0)

    async def scenario() -> None:
        left, handle = list(attempts), Handle(lambda _: left.pop(0))
        deployments: Any = handle
        order = Order(
            model="prag", method="prag", question="?", decoding=Decoding(8), inquiry=Inquiry("?", 3)
        )
        answering = Answering("id", order, limiter.admit(key, 100))
        events = Service(deployments, deployments, BOUNDS).events(answering)
        with suppress(Refused):
            async for number in counted(events):
                if number == listens_to:
                    break
        await events.aclose()

    asyncio.run(scenario())
    limiter.admit(key, 1000 - tokens)
    with pytest.raises(LimitExceeded):
        limiter.admit(key, 1)


async def counted(events: AsyncIterator[Event]) -> AsyncIterator[int]:
    number = 0
    async for _ in events:
        number += 1
        yield number
