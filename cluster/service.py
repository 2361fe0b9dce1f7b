"""One request's way through the endpoint, without HTTP: checked, retrieved, generated, with what is to be said about it.

A request is refused before anything is computed for it where possible. What it waits for is bounded: the number of requests
in flight, and the seconds that each may take.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager, aclosing, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, RayServeException
from ray.serve.handle import DeploymentHandle

from cluster.bounds import Bounds
from cluster.http.validation import Order, too_many
from cluster.keys.allowance import Admission
from cluster.records import UNREACHABLE, Begun, Delta, Done, Event, Found, Refused, Stale, Task

logger = logging.getLogger("ray.serve")
ATTEMPTS = 3  # of a request whose documents are deleted under it
READY_SECONDS = 5
RETRY_AFTER = 1  # seconds, when all queues are full
FULL = Refused(503, "too many requests are waiting; try again", None, "overloaded", RETRY_AFTER)


@dataclass
class Answering:
    """A request on its way, and what has become of it so far."""

    request_id: str
    order: Order
    admission: AbstractContextManager[Admission | None] = field(default_factory=nullcontext)
    snapshot: str = ""
    begun: Begun | None = None
    done: Done | None = None
    refused: Refused | None = None
    timings_ms: dict[str, float] = field(default_factory=dict)
    started: float = field(default_factory=time.perf_counter)

    @property
    def num_tokens(self) -> int:
        """Of prompt and answer."""
        return (self.begun.prompt_tokens if self.begun else 0) + (
            self.done.completion_tokens if self.done else 0
        )

    def mark(self, stage: Literal["first_token", "total"]) -> None:
        self.timings_ms.setdefault(stage, (time.perf_counter() - self.started) * 1000)


class Service:
    """The handles of the other deployments, the bounds, and the requests in flight."""

    def __init__(self, retriever: DeploymentHandle, generator: DeploymentHandle, bounds: Bounds) -> None:
        self._retriever = retriever
        self._generator = generator.options(stream=True)
        self._status = generator
        self.bounds, self._in_flight = bounds, 0

    async def events(self, answering: Answering) -> AsyncGenerator[Begun | Delta | Done | Refused, None]:
        """Begun, Delta …, Done; a Refused ends them wherever it comes. Then the caller's key is charged what it came to."""
        with answering.admission as admission:
            try:
                async with aclosing(self._bounded(answering)) as events:
                    async for event in events:
                        yield event
            finally:
                if admission is not None:
                    admission.settle(answering.num_tokens)

    async def _bounded(self, answering: Answering) -> AsyncGenerator[Begun | Delta | Done | Refused, None]:
        if self._in_flight >= self.bounds.max_in_flight:
            yield FULL
            return
        self._in_flight += 1
        try:
            async with (
                asyncio.timeout(self.bounds.timeout_seconds),
                aclosing(self._events(answering)) as events,
            ):
                async for event in events:
                    yield event
        except TimeoutError:
            yield Refused(
                503,
                f"no answer within {self.bounds.timeout_seconds:g} s; try again",
                None,
                "timeout",
                RETRY_AFTER,
            )
        except BackPressureError:
            yield FULL
        except (RayActorError, DeploymentUnavailableError, RayServeException):
            logger.exception("a replica cannot be reached", extra={"request_id": answering.request_id})
            yield UNREACHABLE
        except RayTaskError:
            logger.exception("a replica failed", extra={"request_id": answering.request_id})
            yield Refused(500, "this request failed on our side", None, "internal_error")
        finally:
            self._in_flight -= 1

    async def check_ready(self) -> None:
        """Raises, whatever, when an engine or the retriever does not answer."""
        async with asyncio.timeout(READY_SECONDS):
            await asyncio.gather(self._status.status.remote(), self._retriever.status.remote())

    async def _events(self, answering: Answering) -> AsyncGenerator[Begun | Delta | Done | Refused, None]:
        at_least = 0
        for _ in range(ATTEMPTS):
            found = await self._find(answering, at_least)
            if isinstance(found, Refused):
                yield found
                return
            answering.snapshot = found.snapshot
            stale = False
            async with aclosing(self._generate(answering, found)) as events:
                async for event in events:
                    if isinstance(event, Stale):
                        stale, at_least = True, event.number
                        break
                    yield event
            if not stale:
                return
        yield Refused(503, "the corpus is changing; try again", None, "corpus_changing", RETRY_AFTER)

    async def _find(self, answering: Answering, at_least: int) -> Found | Refused:
        inquiry = answering.order.inquiry
        if inquiry is None or answering.order.several_rounds:
            current: Found = await self._retriever.current.remote(at_least)
            return current
        started = time.perf_counter()
        found: Found | Refused = await self._retriever.find.remote(replace(inquiry, at_least=at_least))
        answering.timings_ms["retrieve"] = (time.perf_counter() - started) * 1000
        if isinstance(found, Found) and len(found.passages) > self.bounds.max_top_k:
            return Refused(
                400,
                too_many(len(found.passages), self.bounds.max_top_k),
                "prag.doc_ids",
                "too_many_documents",
            )
        return found

    async def _generate(self, answering: Answering, found: Found) -> AsyncGenerator[Event, None]:
        order = answering.order
        task = Task(
            answering.request_id,
            order.method,
            order.question,
            found,
            order.decoding,
            order.inquiry,
            order.earlier,
            order.merge,
            order.salt,
            order.trace,
        )
        replies: Any = self._generator.answer.remote(task)
        try:
            async for event in replies:
                yield event
        finally:
            replies.cancel()
