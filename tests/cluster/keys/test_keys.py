"""A key opens its own entry and nothing else, and what is kept of it does not give it away."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cluster.keys.key_file import read_entry
from cluster.keys.keys import KeyRing, Limits, make_key
from prag_core.errors import ConfigError
from prag_core.retrieval.filters import Filter

NOW = datetime(2026, 7, 1, tzinfo=UTC)
SOON = NOW + timedelta(seconds=1)


def test_a_key_opens_its_entry_with_its_limits_and_filter() -> None:
    (one, one_entry), (other, other_entry) = (
        make_key("acme", Limits(60, 1000, 2), {"tenant": ["a", "b"]}, SOON),
        make_key("free", Limits(), None, None),
    )
    ring = KeyRing(read_entry(entry, "here") for entry in (one_entry, other_entry))
    found = ring.verify(one, NOW)
    assert found is not None and (found.name, found.limits) == ("acme", Limits(60, 1000, 2))
    assert found.filter == Filter.parse({"tenant": ["b", "a"]})
    everything = ring.verify(other, NOW)
    assert everything is not None and (everything.name, everything.limits, everything.filter) == (
        "free",
        Limits(),
        None,
    )


def test_unknown_wrong_malformed_and_expired_keys_are_one_answer() -> None:
    (one, one_entry), (other, other_entry) = (
        make_key(name, Limits(), None, SOON) for name in ("one", "other")
    )
    ring = KeyRing(read_entry(entry, "here") for entry in (one_entry, other_entry))
    prefix, key_id, secret = one.split("-", 2)
    swapped = f"{prefix}-{key_id}-{other.split('-', 2)[2]}"
    wrong = [
        "",
        "prag",
        "prag--",
        one[:-1],
        one + "x",
        one.upper(),
        f" {one}",
        f"other-{key_id}-{secret}",
        f"prag-00000000-{secret}",
        f"prag-{secret}",
        secret,
        key_id,
        swapped,
        one_entry["sha256"],
        f"prag-{key_id}-{one_entry['sha256']}",
        "prag-\udcff-é",
        "x" * 10**6,
    ]
    assert [ring.verify(presented, NOW) for presented in wrong] == [None] * len(wrong)
    assert ring.verify(one, NOW) is not None
    assert ring.verify(one, SOON) is None
    assert KeyRing([]).verify(one, NOW) is None


def test_nobodys_entry_is_never_given_out() -> None:
    ring = KeyRing([read_entry(make_key("one", Limits(), None, None)[1], "here")])
    for presented in ("prag--", "prag-", "prag-nobody-"):
        assert ring.verify(presented, NOW) is None


def test_the_same_work_is_done_whatever_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """One hash and one comparison in constant time, for a key that fits and for every other."""
    key, entry = make_key("one", Limits(), None, NOW)
    ring = KeyRing([read_entry(entry, "here")])
    calls: list[str] = []

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            calls.append(name)
            return function(*arguments)

        return call

    monkeypatch.setattr("cluster.keys.keys.hmac.compare_digest", counted("compare", hmac.compare_digest))
    monkeypatch.setattr("cluster.keys.keys.hashlib.sha256", counted("hash", hashlib.sha256))
    for presented in (key, key[:-1], "prag-00000000-x", "", "nonsense"):
        calls.clear()
        ring.verify(presented, NOW)
        assert calls == ["hash", "compare"]


def test_keys_are_long_random_and_not_in_what_is_kept() -> None:
    made = [make_key("same", Limits(), None, None) for _ in range(50)]
    assert len({key for key, _ in made}) == 50
    assert len({entry["salt"] for _, entry in made}) == 50
    for key, entry in made:
        prefix, key_id, secret = key.split("-", 2)
        assert prefix == "prag" and key_id == entry["id"] and len(secret) >= 43
        assert secret not in json.dumps(entry)


def test_two_entries_of_one_id_are_refused() -> None:
    entry = read_entry(make_key("one", Limits(), None, None)[1], "here")
    with pytest.raises(ConfigError, match=entry.id):
        KeyRing([entry, entry])
