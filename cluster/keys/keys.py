"""API keys: who may ask, how much, and of which documents. Only hashes are kept, never the keys.

A gateway in front of the endpoint can check keys and count requests as well, and may. It cannot do what a key does here: bound
retrieval by a metadata filter, keep one key's adapters and prefixes out of another's caches, and count the tokens that were
generated. Keys are therefore part of the endpoint, in a file, without a database or a service of their own.

A key is `prag-<id>-<secret>`: the id finds the entry and is not secret; the secret is 256 random bits. The entry has the
SHA-256 of its own salt and the secret. One fast hash is right here: slow ones (bcrypt, scrypt) make guessing expensive
where people choose secrets that can be guessed. Nobody guesses 256 bits, and a slow hash would only let anyone who
sends wrong keys keep the processor busy. The salt makes equal secrets of two files look different.

Verifying does the same work whatever is wrong: an unknown id is compared with an entry that no secret matches, hashes are
compared in constant time, and unknown, wrong, malformed and expired keys have one result: None.
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
    """Limits of a key at one ingress replica; None means no limit."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None  # of prompts and answers together
    concurrent: int | None = None


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An entry of the key file. `filter` bounds the documents that requests may retrieve, load or name (None: all)."""

    id: str
    name: str
    salt: str
    sha256: str
    limits: Limits = Limits()
    filter: Filter | None = None
    expires: datetime | None = None


NOBODY = ApiKey("", "", "", "0" * 64)


class KeyRing:
    """Keys by id. Raises ConfigError when two entries share an id."""

    def __init__(self, keys: Iterable[ApiKey]) -> None:
        self._keys: dict[str, ApiKey] = {}
        for key in keys:
            if key.id in self._keys:
                raise ConfigError(
                    f"keys: two entries have the id {key.id}; replace one of them with prag keys add"
                )
            self._keys[key.id] = key

    def __len__(self) -> int:
        return len(self._keys)

    def verify(self, presented: str, now: datetime) -> ApiKey | None:
        """Return the entry of a presented key, or None, without a reason, where it is not valid now."""
        prefix, _, rest = presented.partition("-")
        key_id, _, secret = rest.partition("-")
        key = self._keys.get(key_id, NOBODY)
        matches = hmac.compare_digest(_hash(key.salt, secret), key.sha256)
        valid = key.expires is None or now < key.expires
        return key if (prefix == PREFIX) & matches & valid & (key is not NOBODY) else None


def make_key(
    name: str, limits: Limits, conditions: Mapping[str, Any] | None, expires: datetime | None
) -> tuple[str, dict[str, Any]]:
    """Make a key and its entry. The key is not in the entry and cannot be computed from it."""
    key_id, secret, salt = secrets.token_hex(4), secrets.token_urlsafe(32), secrets.token_hex(16)
    entry: dict[str, Any] = {"id": key_id, "name": name, "salt": salt, "sha256": _hash(salt, secret)}
    entry |= {
        field.name: value for field in fields(Limits) if (value := getattr(limits, field.name)) is not None
    }
    entry |= {"filter": dict(conditions)} if conditions else {}
    entry |= {"expires": expires.isoformat(timespec="seconds")} if expires else {}
    return f"{PREFIX}-{key_id}-{secret}", entry


def _hash(salt: str, secret: str) -> str:
    return hashlib.sha256(f"{salt}{secret}".encode("utf-8", "surrogatepass")).hexdigest()
