"""What a key may use: requests a minute, tokens a minute, requests at once. Counted in the memory of one ingress replica.

Each allowance is a bucket that holds a minute's worth and fills evenly, so a short burst passes and the mean is kept.
Counters are not shared: with n ingress replicas a key gets up to n times its limits (less where requests spread unevenly).
A shared count would cost every request a round trip and make its store one more thing that can fail.

Tokens are reserved before a request runs (its prompt, and as many as it may generate) and settled when it is done.
Meant for one event loop; it takes no locks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from cluster.keys.keys import ApiKey, Limits

ROUNDING = 1e-6  # of a request or token, in what a bucket is said to hold


class LimitExceeded(Exception):
    """A request is above its key's limits. `retry_after`: seconds until it may pass; None when it never can."""

    def __init__(self, message: str, retry_after: float | None) -> None:
        super().__init__(message, retry_after)
        self.message, self.retry_after = message, retry_after


class Limiter:
    """The use of every key that has been seen."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._use: dict[str, _Use] = {}

    def admit(self, key: ApiKey, tokens: int) -> Admission:
        """Let a request of at most `tokens` pass, or raise LimitExceeded and count nothing."""
        use = self._use.setdefault(key.id, _Use(self._clock))
        if use.limits != key.limits:  # new, or the keys file has changed
            use.set(key.limits)
        return use.admit(tokens)


class Admission:
    """A request that may run, until it is released: a context manager. `settle` says how many tokens it came to."""

    def __init__(self, use: _Use, tokens: int) -> None:
        self._use, self._reserved, self._released = use, tokens, False

    def settle(self, tokens: int) -> None:
        """Give back what was reserved and not used, or take what was used beyond it."""
        self._use.tokens.take(tokens - self._reserved)
        self._reserved = tokens

    def release(self) -> None:
        """The request is done. Harmless a second time."""
        self._use.running -= not self._released
        self._released = True

    def __enter__(self) -> Admission:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class _Use:
    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self.running = clock, 0
        self.set(Limits())

    def set(self, limits: Limits) -> None:
        """Begin anew with these limits; what is running stays counted."""
        self.limits = limits
        self.requests = _Bucket(limits.requests_per_minute, self._clock)
        self.tokens = _Bucket(limits.tokens_per_minute, self._clock)

    def admit(self, tokens: int) -> Admission:
        limits = self.limits
        if limits.concurrent is not None and self.running >= limits.concurrent:
            raise LimitExceeded(f"this key is at its limit of requests at once, {limits.concurrent}", 1.0)
        if limits.tokens_per_minute is not None and tokens > limits.tokens_per_minute:
            raise LimitExceeded(
                f"this request may take {tokens} tokens, the key has {limits.tokens_per_minute} a minute; lower max_tokens",
                None,
            )
        if wait := self.requests.wait(1):
            raise LimitExceeded(
                f"this key is at its limit of requests, {limits.requests_per_minute} a minute", wait
            )
        if wait := self.tokens.wait(tokens):
            raise LimitExceeded(
                f"this key is at its limit of tokens, {limits.tokens_per_minute} a minute", wait
            )
        self.requests.take(1)
        self.tokens.take(tokens)
        self.running += 1
        return Admission(self, tokens)


class _Bucket:
    """An allowance a minute, None for no limit. Full at first; below zero when more was used than reserved."""

    def __init__(self, per_minute: int | None, clock: Callable[[], float]) -> None:
        self._per_minute, self._clock = per_minute, clock
        self._level, self._at = float(per_minute or 0), clock()

    def wait(self, amount: int) -> float:
        """Seconds until this much is there; 0 when it is."""
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
