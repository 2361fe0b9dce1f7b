"""What bounds a request's waiting: the number in flight, and its seconds. The deployments behind are stand-ins that hang."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from cluster.bounds import Bounds
from cluster.ingress import make_app
from cluster.records import Found
from cluster.service import Service

BOUNDS = Bounds(
    top_k=3, max_top_k=4, new_tokens=20, max_new_tokens=64, max_body_bytes=10_000, max_in_flight=2, timeout_seconds=0.5
)
BODY = {"model": "prag", "messages": [{"role": "user", "content": "Where is Jelamnax?"}]}


class Metrics:
    """Counts what the ingress reports."""

    def __init__(self) -> None:
        self.now, self.statuses = 0, list[tuple[int, str | None]]()

    def began(self) -> None:
        self.now += 1

    def ended(self, status: int, reason: str | None) -> None:
        self.now -= 1
        self.statuses.append((status, reason))


class Call:
    """One method of a deployment's handle."""

    def __init__(self, reply: Any) -> None:
        self._reply = reply

    def remote(self, *_: Any) -> Any:
        return self._reply()


class Hanging:
    """Replies of a generator that never come."""

    cancelled = 0

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        await asyncio.sleep(60)

    def cancel(self) -> None:
        Hanging.cancelled += 1


class Handle:
    def __init__(self) -> None:
        async def found() -> Found:
            return Found("00000001-0", 1)

        self.find, self.status, self.answer = Call(found), Call(found), Call(Hanging)

    def options(self, **_: Any) -> Handle:
        return self


def client(metrics: Metrics) -> httpx.AsyncClient:
    handle: Any = Handle()
    given: Any = metrics
    app = make_app(Service(handle, handle, BOUNDS), given)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


@pytest.mark.parametrize("stream", [False, True])
def test_beyond_the_bound_requests_are_turned_away_at_once_and_the_others_end_in_time(stream: bool) -> None:
    async def scenario() -> None:
        metrics = Metrics()
        async with client(metrics) as http:
            replies = await asyncio.gather(*[http.post("/v1/chat/completions", json=BODY | {"stream": stream}) for _ in range(5)])
        codes = sorted(reply.json()["error"]["code"] for reply in replies)
        assert codes == ["overloaded"] * 3 + ["timeout"] * 2
        assert all(reply.status_code == 503 and int(reply.headers["retry-after"]) > 0 for reply in replies)
        assert metrics.now == 0 and len(metrics.statuses) == 5

    Hanging.cancelled = 0
    asyncio.run(scenario())
    assert Hanging.cancelled == 2


def test_not_ready_while_no_engine_answers() -> None:
    async def scenario() -> None:
        async with client(Metrics()) as http:
            reply = await http.get("/ready")
        assert reply.status_code == 503 and reply.json()["error"]["code"] == "not_ready"

    asyncio.run(scenario())
