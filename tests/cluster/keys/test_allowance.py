"""A key's usage stays within its limits, and what is refused costs nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cluster.keys.allowance import Limiter, LimitExceeded
from cluster.keys.keys import ApiKey, Limits


class Clock:
    def __init__(self) -> None:
        self.now = 5.0

    def __call__(self) -> float:
        return self.now


def key(
    requests: int | None = None, tokens: int | None = None, concurrent: int | None = None, key_id: str = "k"
) -> ApiKey:
    return ApiKey(key_id, "name", "", "", Limits(requests, tokens, concurrent))


def refused(limiter: Limiter, who: ApiKey, tokens: int = 1) -> LimitExceeded:
    with pytest.raises(LimitExceeded) as caught:
        limiter.admit(who, tokens)
    return caught.value


def test_requests_pass_up_to_a_minutes_worth_and_then_at_the_pace_of_the_limit() -> None:
    clock = Clock()
    limiter, who = Limiter(clock), key(requests=30)
    for _ in range(30):
        limiter.admit(who, 1).release()
    error = refused(limiter, who)
    assert "30 requests a minute" in error.message and error.retry_after == pytest.approx(2.0)
    for _ in range(5):
        clock.now += error.retry_after or 0
        limiter.admit(who, 1).release()
        refused(limiter, who)
    clock.now += 3600
    for _ in range(30):
        limiter.admit(who, 1).release()
    refused(limiter, who)


def test_tokens_are_reserved_and_settled() -> None:
    clock = Clock()
    limiter, who = Limiter(clock), key(tokens=600)
    with limiter.admit(who, 500) as admission:
        error = refused(limiter, who, 200)
        assert "600 tokens a minute" in error.message and error.retry_after == pytest.approx(10.0)
        admission.settle(100)
    limiter.admit(who, 500)
    refused(limiter, who, 1)
    limiter, who = Limiter(clock), key(tokens=600)
    limiter.admit(who, 100).settle(900)  # more than was reserved is owed
    assert refused(limiter, who, 1).retry_after == pytest.approx(30.1)


def test_a_request_above_the_whole_allowance_can_never_pass() -> None:
    error = refused(Limiter(Clock()), key(tokens=100), 101)
    assert error.retry_after is None and "101" in error.message and "max_tokens" in error.message


def test_at_once_counts_what_runs_and_is_released_once() -> None:
    limiter, who = Limiter(Clock()), key(concurrent=2)
    one = limiter.admit(who, 1)
    with limiter.admit(who, 1):
        assert "2 concurrent requests" in refused(limiter, who).message
    two = limiter.admit(who, 1)
    two.release()
    two.release()
    limiter.admit(who, 1)
    refused(limiter, who)
    one.release()
    limiter.admit(who, 1)


def test_what_is_refused_costs_nothing() -> None:
    clock = Clock()
    limiter, who = Limiter(clock), key(requests=2, tokens=60, concurrent=1)
    running = limiter.admit(who, 60)
    refused(limiter, who)
    running.settle(0)
    running.release()
    limiter.admit(who, 60).release()  # neither a request nor a token went to the refusal
    refused(limiter, who)


def test_keys_do_not_share_and_a_key_without_limits_has_none() -> None:
    limiter = Limiter(Clock())
    limiter.admit(key(requests=1, key_id="a"), 1)
    limiter.admit(key(requests=1, key_id="b"), 1)
    for _ in range(1000):
        limiter.admit(key(key_id="c"), 10**6)


def test_changed_limits_begin_anew_and_what_runs_stays_counted() -> None:
    limiter, who = Limiter(Clock()), key(requests=1, concurrent=5)
    running = limiter.admit(who, 1)
    refused(limiter, who)
    who = replace(who, limits=Limits(requests_per_minute=10, concurrent=1))
    assert "1 concurrent requests" in refused(limiter, who).message
    running.release()
    limiter.admit(who, 1)
