"""What bounds a request's waiting: the number in flight, and its seconds. The deployments behind are stand-ins that hang."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from cluster.bounds import Bounds
from cluster.http.endpoint import make_app
from cluster.keys.gate import Gate
from cluster.records import Begun, Delta, Done, Event, Found, Inquiry, Refused, Stale, Task
from cluster.service import Service
from prag_core.errors import EngineDiedError

BOUNDS = Bounds(
    methods=("rag", "prag", "flare"),
    top_k=3,
    max_top_k=4,
    new_tokens=20,
    max_new_tokens=64,
    max_body_bytes=10_000,
    max_in_flight=2,
    timeout_seconds=0.5,
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

    def answered(self, milliseconds: Any, method: str) -> None:
        pass


class Call:
    """One method of a deployment's handle."""

    def __init__(self, reply: Any) -> None:
        self._reply = reply

    def remote(self, *arguments: Any) -> Any:
        return self._reply(*arguments)


class Hanging:
    """Replies of a generator that never come."""

    cancelled = 0

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        await asyncio.sleep(60)

    def cancel(self) -> None:
        Hanging.cancelled += 1


class Replies:
    """Replies of a generator that come at once."""

    def __init__(self, *events: Event) -> None:
        self._events = iter(events)

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        for event in self._events:
            return event
        raise StopAsyncIteration

    def cancel(self) -> None:
        pass


class Handle:
    """Of both deployments: retrieval finds nothing, and generation is what `answer` does."""

    def __init__(self, answer: Callable[[Task], Any] = lambda _: Hanging()) -> None:
        self.inquiries: list[Inquiry] = []
        self.tasks: list[Task] = []

        async def find(inquiry: Inquiry | None = None) -> Found:
            if inquiry:
                self.inquiries.append(inquiry)
            return Found(f"snapshot-{len(self.inquiries)}", len(self.inquiries))

        async def current(at_least: int) -> Found:
            return Found("snapshot-now", at_least)

        def keep(task: Task) -> Any:
            self.tasks.append(task)
            return answer(task)

        self.find, self.status, self.current, self.answer = Call(find), Call(find), Call(current), Call(keep)

    def options(self, **_: Any) -> Handle:
        return self


def client(metrics: Metrics, handle: Any = None) -> httpx.AsyncClient:
    handle = handle or Handle()
    given: Any = metrics
    app = make_app(Service(handle, handle, BOUNDS), Gate(None), given)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


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
            Replies(Begun((), (), {}, 5, {}), Delta("Elb"), Delta("onia."), Done("stop", 3)),
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
        answers = [Replies(Stale(7)), Replies(Begun((), (), {}, 5, {}), Delta("Elbonia."), Done("stop", 3))]
        handle = Handle(lambda _: answers.pop(0))
        async with client(Metrics(), handle) as http:
            reply = (await http.post("/v1/chat/completions", json=BODY | {"model": "flare"})).json()
        assert reply["prag"]["snapshot"] == "snapshot-now" and handle.inquiries == []
        assert [task.found for task in handle.tasks] == [Found("snapshot-now", 0), Found("snapshot-now", 7)]
        assert handle.tasks[0].inquiry == Inquiry("Where is Jelamnax?", 3)

    asyncio.run(scenario())


def test_a_stream_whose_client_leaves_before_its_first_byte_is_counted_as_ended() -> None:
    class Gone(Exception):
        """What a server raises from `send` when nobody is there."""

    async def scenario() -> None:
        metrics, given = Metrics(), list[dict[str, Any]]()
        handle = Handle(lambda _: Replies(Begun((), (), {}, 5, {}), Delta("Elbonia."), Done("stop", 3)))
        service: Any = Service(handle, handle, BOUNDS)  # type: ignore[arg-type]
        app = make_app(service, Gate(None), metrics)  # type: ignore[arg-type]
        body = json.dumps(BODY | {"stream": True}).encode()

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            given.append(message)
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
        died = Refused(503, "the engine ended", None, "engine_unavailable", 5)
        handle = Handle(lambda _: Replies(Begun((), (), {}, 5, {}), Delta("Elb"), died))
        async with client(Metrics(), handle) as http:
            streamed = await http.post("/v1/chat/completions", json=BODY | {"stream": True})
            whole = await http.post("/v1/chat/completions", json=BODY)
        assert streamed.status_code == 200 and '"code":"engine_unavailable"' in streamed.text
        assert "[DONE]" not in streamed.text
        assert whole.status_code == 503 and whole.headers["retry-after"] == "5"

    asyncio.run(scenario())
