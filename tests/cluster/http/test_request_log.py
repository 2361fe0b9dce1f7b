"""Every request is one count and one line in the log, however it ends, under an id that cannot forge another line."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from fastapi import Request

from cluster.http.request_log import RequestLog, request_id_of
from cluster.records import Begun, Done, Order, Refusal
from cluster.service import Answering
from prag_core.engines.base import Decoding
from tests.cluster.stand_ins import Metrics


def request(request_id: str | None = None) -> Request:
    headers = [] if request_id is None else [(b"x-request-id", request_id.encode())]
    return Request({"type": "http", "headers": headers})


@pytest.mark.parametrize("own", ["mine-17", "a.b_c", "x" * 64])
def test_a_plain_request_id_is_kept(own: str) -> None:
    assert request_id_of(request(own)) == own


@pytest.mark.parametrize("own", [None, "", "two words", "line\nbreak", '{"json"}', "x" * 65])
def test_any_other_is_replaced(own: str | None) -> None:
    made = request_id_of(request(own))
    assert made != own and made != request_id_of(request(own)) and len(made) == 32


def answering() -> Answering:
    order = Order(model="rag", method="rag", question="Where?", decoding=Decoding(8))
    answer = Answering("mine-17", order, snapshot="one")
    answer.begun, answer.done = Begun(prompt_tokens=5), Done("stop", 3)
    return answer


@pytest.mark.parametrize(
    ("end", "status", "reason"),
    [
        (lambda log: log.answered(answering()), 200, None),
        (
            lambda log: log.refused(Refusal(429, "too many", code="rate_limit_exceeded")),
            429,
            "rate_limit_exceeded",
        ),
        (lambda log: log.refused(Refusal(400, "wrong")), 400, "invalid"),
        (lambda log: log.client_left(), 499, "client_left"),
        (lambda log: log.broken_off(None), 499, "broken_off"),
        (lambda log: log.broken_off(Refusal(503, "the engine ended")), 503, "broken_off"),
    ],
)
def test_every_end_is_one_count_and_one_line(
    end: Any, status: int, reason: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    metrics: Any = Metrics()
    with caplog.at_level(logging.INFO, logger="ray.serve"):
        end(RequestLog(request("mine-17"), metrics))
    assert metrics.now == 0 and metrics.statuses == [(status, reason)]
    (line,) = caplog.records
    assert (line.__dict__["prag_request"], line.__dict__["status"]) == ("mine-17", status)
