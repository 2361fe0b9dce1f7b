"""Stand-ins for the deployments behind the HTTP endpoint, so that its app runs in the test's own process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import httpx

from cluster.bounds import Bounds
from cluster.http.endpoint import Endpoint
from cluster.keys.gate import Gate
from cluster.records import Begun, Delta, Done, Event, Found, Inquiry, Task
from cluster.service import Service

BOUNDS = Bounds(
    methods=("rag", "prag", "flare"),
    top_k=3,
    max_top_k=4,
    new_tokens=20,
    max_new_tokens=64,
    max_body_bytes=10_000,
    max_characters=5_000,
    max_in_flight=2,
    timeout_seconds=0.5,
)


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
    """Replies of a generator of which no more come after `events`."""

    cancelled = 0

    def __init__(self, *events: Event) -> None:
        self._events = iter(events)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        for event in self._events:
            return event
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


def elbonia(task: Task) -> Replies:
    """A short answer, in two pieces."""
    return Replies(Begun(prompt_tokens=5), Delta("Elb", 1), Delta("onia.", 2), Done("stop", 3))


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


def transport(
    handle: Any,
    metrics: Metrics | None = None,
    keys_file: str | None = None,
    cors_origins: Sequence[str] = (),
) -> httpx.ASGITransport:
    """The endpoint's app over a stand-in of its deployments, for a client to talk to."""
    service = Service(handle, handle, BOUNDS)
    counted: Any = metrics or Metrics()
    endpoint = Endpoint(service, Gate(keys_file), counted, cors_origins)
    return httpx.ASGITransport(endpoint.app())
