"""Check API keys and their limits before the endpoint. Without a key file everyone may ask everything.

Every wrong key gets the same 401. A key's filter holds for whatever its requests retrieve or name; its id salts every cache,
so that response times tell no key what another has asked for.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cluster.keys.allowance import Admission, Limiter, LimitExceeded
from cluster.keys.key_file import WatchedKeys
from cluster.keys.keys import ApiKey
from cluster.records import ANYONE, Caller, Order, Refusal, Refused

UNKNOWN = Refusal(401, "no valid API key: send Authorization: Bearer KEY", code="invalid_api_key")
CHARACTERS_PER_TOKEN = 3  # of a prompt, before it is tokenized; settled afterwards


@dataclass(frozen=True)
class Entrant:
    """An admitted caller with its key (None: the endpoint has no keys)."""

    caller: Caller
    key: ApiKey | None = None


class Gate:
    """The keys and limits of one ingress. Raises ConfigError for a key file that cannot be used."""

    def __init__(self, keys_file: str | None) -> None:
        self._keys = WatchedKeys(Path(keys_file)) if keys_file else None
        self._limiter = Limiter()

    def enter(self, authorization: str | None) -> Entrant:
        """Return the caller that an Authorization header names. Raises Refused for a key that is not valid."""
        if self._keys is None:
            return Entrant(ANYONE)
        scheme, _, presented = (authorization or "").partition(" ")
        key = self._keys.current().verify(
            presented.strip() if scheme.lower() == "bearer" else "", datetime.now(UTC)
        )
        if key is None:
            raise Refused(UNKNOWN)
        return Entrant(Caller(key.id, key.filter), key)

    def admit(self, entrant: Entrant, order: Order) -> AbstractContextManager[Admission | None]:
        """Count the request against its key's limits until the context is left; `settle` then says what it came to. Raises
        Refused for a request beyond the limits."""
        if entrant.key is None:
            return nullcontext()
        prompt = len(order.question) + sum(len(message["content"]) for message in order.earlier)
        try:
            return self._limiter.admit(
                entrant.key, prompt // CHARACTERS_PER_TOKEN + order.decoding.max_new_tokens
            )
        except LimitExceeded as error:
            if error.retry_after is None:
                raise Refused(Refusal(400, error.message, code="too_many_tokens")) from None
            seconds = math.ceil(error.retry_after)
            refusal = Refusal(429, error.message, code="rate_limit_exceeded", retry_after=seconds)
            raise Refused(refusal) from None
