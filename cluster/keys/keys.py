"""API keys: who may ask, how much, and of which documents. A file of hashes; the keys themselves are nowhere.

A key is `prag-<id>-<secret>`: the id finds its entry and is no secret, the secret is 256 random bits. What is kept of it is
SHA-256 over a salt of its own and the secret. One fast hash is right here: slow ones (bcrypt, scrypt) make guessing expensive
where people choose secrets that can be guessed. Nobody guesses 256 bits, and a slow hash would only let anyone who
sends wrong keys keep the processor busy. The salt makes equal secrets of two files look different.

Verifying does the same work whatever is wrong: an id that is not there is compared with an entry that nobody's secret
fits, hashes are compared in constant time, and unknown, wrong, malformed and expired are one answer: None.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from prag_core.errors import ConfigError
from prag_core.retrieval.filters import Filter

PREFIX = "prag"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a key may use, at one ingress replica; None: as much as there is."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None  # of prompts and answers together
    concurrent: int | None = None


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One entry. `filter` holds for every document that the key's requests may find, load or be told of (None: all)."""

    id: str
    name: str
    salt: str
    sha256: str
    limits: Limits = Limits()
    filter: Filter | None = None
    expires: datetime | None = None


NOBODY = ApiKey("", "", "", "0" * 64)


class KeyRing:
    """Keys by id. Raises ConfigError when two entries share one."""

    def __init__(self, keys: Iterable[ApiKey]) -> None:
        self._keys: dict[str, ApiKey] = {}
        for key in keys:
            if key.id in self._keys:
                raise ConfigError(
                    f"keys: two entries have the id {key.id}; make one of them again with prag keys add"
                )
            self._keys[key.id] = key

    def __len__(self) -> int:
        return len(self._keys)

    def verify(self, presented: str, now: datetime) -> ApiKey | None:
        """The entry that this key opens; None for everything else, without saying why."""
        prefix, _, rest = presented.partition("-")
        key_id, _, secret = rest.partition("-")
        key = self._keys.get(key_id, NOBODY)
        fits = hmac.compare_digest(_hash(key.salt, secret), key.sha256)
        valid = key.expires is None or now < key.expires
        return key if (prefix == PREFIX) & fits & valid & (key is not NOBODY) else None


def make_key(
    name: str, limits: Limits, where: Mapping[str, Any] | None, expires: datetime | None
) -> tuple[str, dict[str, Any]]:
    """A new key and the entry to keep of it. The key itself is not in the entry and cannot be had from it."""
    key_id, secret, salt = secrets.token_hex(4), secrets.token_urlsafe(32), secrets.token_hex(16)
    entry: dict[str, Any] = {"id": key_id, "name": name, "salt": salt, "sha256": _hash(salt, secret)}
    entry |= {
        field.name: value for field in fields(Limits) if (value := getattr(limits, field.name)) is not None
    }
    entry |= {"filter": dict(where)} if where else {}
    entry |= {"expires": expires.isoformat(timespec="seconds")} if expires else {}
    return f"{PREFIX}-{key_id}-{secret}", entry


def _hash(salt: str, secret: str) -> str:
    return hashlib.sha256(f"{salt}{secret}".encode("utf-8", "surrogatepass")).hexdigest()
