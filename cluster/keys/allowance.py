"""Rate limits of an API key: requests a minute, tokens a minute, concurrent requests. Counted in one ingress replica's memory.

Each limit a minute is a token bucket that holds a minute's worth and refills evenly, so a short burst passes and the mean is
kept. Counters are not shared: with n ingress replicas a key gets up to n times its limits (less where requests spread
unevenly). A shared counter would cost every request a round trip and make its store one more thing that can fail.

Tokens are reserved before a request runs (its prompt, and as many as it may generate) and settled when it is done, and a
request that any of the three limits refuses counts against none. That is why the buckets are written here: `limits` counts
hits and `aiolimiter` waits for room; neither gives back what was reserved, owes what was overdrawn, or checks two limits as
one step. Meant for one event loop; it takes no locks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from cluster.keys.keys import ApiKey, Limits

ROUNDING = 1e-6  # of a request or token: the error of a bucket's level


class LimitExceeded(Exception):
    """A request above its key's limits. `retry_after`: seconds until it may pass; None when it never can."""

    def __init__(self, message: str, retry_after: float | None) -> None:
        super().__init__(message, retry_after)
        self.message, self.retry_after = message, retry_after


class Limiter:
    """Usage by key, of every key that has made a request."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._usage: dict[str, _Usage] = {}

    def admit(self, key: ApiKey, tokens: int) -> Admission:
        """Admit a request of at most `tokens` tokens, or raise LimitExceeded and count nothing."""
        usage = self._usage.setdefault(key.id, _Usage(self._clock))
        if usage.limits != key.limits:  # a new key, or the key file has changed
            usage.reset(key.limits)
        return usage.admit(tokens)


class Admission:
    """An admitted request, until it is released: a context manager. `settle` reports how many tokens it used."""

    def __init__(self, usage: _Usage, tokens: int) -> None:
        self._usage, self._reserved, self._released = usage, tokens, False

    def settle(self, tokens: int) -> None:
        """Return tokens that were reserved and not used, or take those that were used in addition."""
        self._usage.tokens.take(tokens - self._reserved)
        self._reserved = tokens

    def release(self) -> None:
        """End the request; a second call does nothing."""
        self._usage.running -= not self._released
        self._released = True

    def __enter__(self) -> Admission:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class _Usage:
    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self.running = clock, 0
        self.reset(Limits())

    def reset(self, limits: Limits) -> None:
        """Start full buckets of these limits; running requests stay counted."""
        self.limits = limits
        self.requests = _Bucket(limits.requests_per_minute, self._clock)
        self.tokens = _Bucket(limits.tokens_per_minute, self._clock)

    def admit(self, tokens: int) -> Admission:
        limits = self.limits
        if limits.concurrent is not None and self.running >= limits.concurrent:
            raise LimitExceeded(f"this key is at its limit of {limits.concurrent} concurrent requests", 1.0)
        if limits.tokens_per_minute is not None and tokens > limits.tokens_per_minute:
            raise LimitExceeded(
                f"this request may use {tokens} tokens, this key has {limits.tokens_per_minute} a minute; lower max_tokens",
                None,
            )
        if wait := self.requests.wait(1):
            raise LimitExceeded(
                f"this key is at its limit of {limits.requests_per_minute} requests a minute", wait
            )
        if wait := self.tokens.wait(tokens):
            raise LimitExceeded(
                f"this key is at its limit of {limits.tokens_per_minute} tokens a minute", wait
            )
        self.requests.take(1)
        self.tokens.take(tokens)
        self.running += 1
        return Admission(self, tokens)


class _Bucket:
    """A token bucket of `per_minute`, None for no limit. Starts full; negative when more was used than reserved."""

    def __init__(self, per_minute: int | None, clock: Callable[[], float]) -> None:
        self._per_minute, self._clock = per_minute, clock
        self._level, self._at = float(per_minute or 0), clock()

    def wait(self, amount: int) -> float:
        """Seconds until the bucket holds `amount`; 0 when it does."""
        if self._per_minute is None:
            return 0.0
        now = self._clock()
        self._level = min(self._per_minute, self._level + (now - self._at) * self._per_minute / 60)
        self._at = now
        missing = amount - self._level
        return missing * 60 / self._per_minute if missing > ROUNDING else 0.0

    def take(self, amount: int) -> None:
        if self._per_minute is not None:
            self._level -= amount
