"""A checked order's way to its answer: retrieved, generated, and charged to its key.

What a request waits for is bounded: the number of requests in flight, and the seconds that each may take.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, RayServeException
from ray.serve.handle import DeploymentHandle

from cluster.bounds import Bounds
from cluster.keys.allowance import Admission
from cluster.records import (
    UNREACHABLE,
    Begun,
    Delta,
    Done,
    Event,
    Found,
    Order,
    Refusal,
    Refused,
    Stale,
    Task,
    Usage,
)

logger = logging.getLogger("ray.serve")
ATTEMPTS = 3  # of a request whose documents are deleted while it is answered
READY_SECONDS = 5
RETRY_AFTER = 1  # seconds, when all queues are full
FULL = Refusal(503, "too many requests are waiting; try again", code="overloaded", retry_after=RETRY_AFTER)
CHANGING = Refusal(503, "the corpus is changing; try again", code="corpus_changing", retry_after=RETRY_AFTER)
DEFECT = Refusal(500, "this request failed on our side", code="internal_error")


@dataclass
class Answering:
    """A request while it is answered, and what is known of its answer so far."""

    request_id: str
    order: Order
    admission: AbstractContextManager[Admission | None] = field(default_factory=nullcontext)
    snapshot: str = ""
    begun: Begun | None = None
    done: Done | None = None
    timings_ms: dict[str, float] = field(default_factory=dict)
    started: float = field(default_factory=time.perf_counter)
    usage: Usage = field(default_factory=Usage)  # of the attempt that is running
    earlier_tokens: int = 0  # of attempts whose documents were deleted under them

    @property
    def num_tokens(self) -> int:
        """Tokens that were read and generated so far, by all attempts."""
        return self.earlier_tokens + self.usage.total

    def count(self, event: Event) -> None:
        """Note how many tokens an event says there are."""
        if isinstance(event, Usage):
            self.usage = event
        elif isinstance(event, Begun):
            self.usage = replace(self.usage, prompt_tokens=event.prompt_tokens)
        elif isinstance(event, Delta | Done):
            self.usage = replace(self.usage, completion_tokens=event.completion_tokens)
        elif isinstance(event, Stale):
            self.earlier_tokens, self.usage = self.num_tokens, Usage()

    def mark(self, stage: Literal["first_token", "total"]) -> None:
        self.timings_ms.setdefault(stage, (time.perf_counter() - self.started) * 1000)


class Service:
    """The handles of the other deployments, the bounds, and the count of requests in flight."""

    def __init__(self, retriever: DeploymentHandle, generator: DeploymentHandle, bounds: Bounds) -> None:
        self._retriever = retriever
        self._generator = generator.options(stream=True)
        self._status = generator
        self.bounds, self._in_flight = bounds, 0

    async def events(self, answering: Answering) -> AsyncGenerator[Begun | Delta | Done, None]:
        """Yield Begun, the text as Deltas, Done. Raises Refused, also in the middle of the text. Charges the caller's key for
        what was generated, however it ends."""
        with self._charged(answering), self._counted(), self._refusing(answering.request_id):
            deadline = asyncio.get_running_loop().time() + self.bounds.timeout_seconds
            at_least = 0
            for _ in range(ATTEMPTS):
                async with asyncio.timeout_at(deadline):
                    found = await self._find(answering, at_least)
                answering.snapshot = found.snapshot
                task = Task(request_id=answering.request_id, order=answering.order, found=found)
                replies: Any = self._generator.answer.remote(task)
                try:
                    # The deadline is set for each event and not around them all: the consumer may be another task.
                    while (event := await _next_event(replies, deadline)) is not None:
                        answering.count(event)
                        if isinstance(event, Refusal):
                            raise Refused(event)
                        if isinstance(event, Stale):
                            break
                        if not isinstance(event, Usage):
                            yield event
                    else:
                        return
                finally:
                    replies.cancel()
                at_least = event.number
            raise Refused(CHANGING)

    async def check_ready(self) -> None:
        """Raises any exception when an engine or the retriever does not answer."""
        async with asyncio.timeout(READY_SECONDS):
            await asyncio.gather(self._status.status.remote(), self._retriever.status.remote())

    async def _find(self, answering: Answering, at_least: int) -> Found:
        """Retrieve for an order, or ask which snapshot is current where it needs no passages yet. Raises Refused."""
        inquiry = answering.order.inquiry
        if inquiry is None or answering.order.several_rounds:
            current: Found = await self._retriever.current.remote(at_least)
            return current
        started = time.perf_counter()
        found: Found | Refusal = await self._retriever.find.remote(replace(inquiry, at_least=at_least))
        answering.timings_ms["retrieve"] = (time.perf_counter() - started) * 1000
        if isinstance(found, Refusal):
            raise Refused(found)
        self.bounds.check_documents(len(found.passages))
        return found

    @contextmanager
    def _charged(self, answering: Answering) -> Iterator[None]:
        """Hold the caller's admission, and charge its key for the tokens that the request came to."""
        with answering.admission as admission:
            try:
                yield
            finally:
                if admission is not None:
                    admission.settle(answering.num_tokens)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Hold one of the places in flight. Raises Refused when there is none."""
        if self._in_flight >= self.bounds.max_in_flight:
            raise Refused(FULL)
        self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1

    @contextmanager
    def _refusing(self, request_id: str) -> Iterator[None]:
        """Turn failures of other deployments into Refused."""
        try:
            yield
        except TimeoutError:
            message = f"no answer within {self.bounds.timeout_seconds:g} s; try again"
            raise Refused(Refusal(503, message, code="timeout", retry_after=RETRY_AFTER)) from None
        except BackPressureError:
            raise Refused(FULL) from None
        except (RayActorError, DeploymentUnavailableError, RayServeException):
            logger.exception("a replica cannot be reached", extra={"request_id": request_id})
            raise Refused(UNREACHABLE) from None
        except RayTaskError:
            logger.exception("a replica failed", extra={"request_id": request_id})
            raise Refused(DEFECT) from None


async def _next_event(replies: Any, deadline: float) -> Event | None:
    """The next event, or None at the end. Raises TimeoutError after the deadline."""
    async with asyncio.timeout_at(deadline):
        event: Event | None = await anext(replies, None)
        return event
