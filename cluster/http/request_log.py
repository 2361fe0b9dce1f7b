"""The record of one request in metrics and in the log: one line and one count for each, however it ends."""

from __future__ import annotations

import logging
import re
import uuid
from typing import Any

from fastapi import Request

from cluster.http.responses import all_timings
from cluster.metrics import IngressMetrics
from cluster.records import Refusal
from cluster.service import Answering

logger = logging.getLogger("ray.serve")
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
CLIENT_LEFT = 499  # in logs and metrics only: nobody is there to read it


class RequestLog:
    """Counts a request as begun when it is made; exactly one of its methods must then report the end."""

    def __init__(self, request: Request, metrics: IngressMetrics) -> None:
        self.request_id = request_id_of(request)
        self._metrics = metrics
        metrics.began()

    def answered(self, answering: Answering) -> None:
        """Report a complete answer, with its times and counts."""
        answering.mark("total")
        begun, done = answering.begun, answering.done
        measured = {stage: value for stage, value in answering.timings_ms.items() if value}
        self._metrics.answered(measured, answering.order.method)
        self._end(
            200,
            None,
            method=answering.order.method,
            snapshot=answering.snapshot,
            documents=len(begun.documents) if begun else 0,
            degraded=len(begun.degraded) if begun else 0,
            tokens=done.completion_tokens if done else 0,
            timings_ms={name: round(value, 2) for name, value in all_timings(answering).items()},
        )

    def refused(self, refusal: Refusal) -> None:
        """Report a request that got an error in place of an answer."""
        self._end(refusal.status, refusal.code or "invalid", why=refusal.message)

    def client_left(self) -> None:
        """Report a request whose client left before the answer began."""
        self._end(CLIENT_LEFT, "client_left")

    def broken_off(self, refusal: Refusal | None) -> None:
        """Report a stream that ended early: with an error, or (None) because its client left."""
        self._end(refusal.status if refusal else CLIENT_LEFT, "broken_off")

    def failed(self) -> None:
        """Log the exception at hand, which is a defect. Does not report the end."""
        logger.exception("a request failed", extra={"prag_request": self.request_id})

    def _end(self, status: int, reason: str | None, **facts: Any) -> None:
        self._metrics.ended(status, reason)
        line = {"prag_request": self.request_id, "status": status, "reason": reason}
        logger.info("request", extra=line | facts)


def request_id_of(request: Request) -> str:
    """Return the caller's own request id where it is a plain one, else a new one. Serve's proxy adds it to the reply."""
    own = request.headers.get("x-request-id", "")
    return own if REQUEST_ID.fullmatch(own) else uuid.uuid4().hex
