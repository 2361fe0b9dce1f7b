"""Who asks: API keys in front of the endpoint, and what each may use. Without a keys file everybody may ask everything.

All that is wrong with a key is one 401. A key's filter holds for whatever its requests retrieve or name; its id salts every
cache, so that no key can tell from a time what another has asked for.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cluster.http.validation import ANYONE, Caller, Order
from cluster.keys.allowance import Admission, Limiter, LimitExceeded
from cluster.keys.key_file import WatchedKeys
from cluster.keys.keys import ApiKey
from cluster.records import Refused

UNKNOWN = Refused(401, "no valid API key: send Authorization: Bearer KEY", None, "invalid_api_key")
CHARACTERS_PER_TOKEN = 3  # of a prompt, before it is tokenized; settled afterwards


@dataclass(frozen=True)
class Entrant:
    """A caller that was let in, with its key (None: there are no keys)."""

    caller: Caller
    key: ApiKey | None = None


class Gate:
    """Of one ingress. Raises ConfigError when made with a keys file that cannot be used."""

    def __init__(self, keys_file: str | None) -> None:
        self._keys = WatchedKeys(Path(keys_file)) if keys_file else None
        self._limiter = Limiter()

    def enter(self, authorization: str | None) -> Entrant | Refused:
        """Whose request this is, by its Authorization header."""
        if self._keys is None:
            return Entrant(ANYONE)
        scheme, _, presented = (authorization or "").partition(" ")
        key = self._keys.current().verify(
            presented.strip() if scheme.lower() == "bearer" else "", datetime.now(UTC)
        )
        return UNKNOWN if key is None else Entrant(Caller(key.id, key.filter), key)

    def admit(self, entrant: Entrant, order: Order) -> AbstractContextManager[Admission | None] | Refused:
        """Count the request against its key's limits until the context is left; `settle` then says what it came to."""
        if entrant.key is None:
            return nullcontext()
        prompt = len(order.question) + sum(len(message["content"]) for message in order.earlier)
        try:
            return self._limiter.admit(
                entrant.key, prompt // CHARACTERS_PER_TOKEN + order.decoding.max_new_tokens
            )
        except LimitExceeded as error:
            if error.retry_after is None:
                return Refused(400, error.message, None, "too_many_tokens")
            return Refused(429, error.message, None, "rate_limit_exceeded", math.ceil(error.retry_after))
