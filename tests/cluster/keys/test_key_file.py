"""A key file is read with every mistake named, and followed while it changes."""

from __future__ import annotations

import json
import logging
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.keys.key_file import WatchedKeys, load_keys, read_entries, read_entry, read_moment, write_entries
from cluster.keys.keys import Limits, make_key
from prag_core.errors import ConfigError

NOW = datetime(2026, 7, 1, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("name", ["keys.yaml", "keys.json"])
def test_what_is_written_is_read_and_only_its_owner_may_read_it(tmp_path: Path, name: str) -> None:
    made = [
        make_key("ä", Limits(60, None, 2), {"tenant": "a", "year": [1, "1"]}, NOW),
        make_key("b", Limits(), None, None),
    ]
    path = tmp_path / name
    write_entries(path, [entry for _, entry in made])
    read = json.loads if name.endswith(".json") else yaml.safe_load
    assert read(path.read_text()) == {"keys": [entry for _, entry in made]}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [name]
    ring = load_keys(path)
    assert len(ring) == 2
    assert all(ring.verify(key, datetime(2020, 1, 1, tzinfo=UTC)) for key, _ in made)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sha256": None}, "sha256 is None, expected text"),
        ({"id": 12345678}, "id is 12345678, expected text"),
        ({"sha256": "abc"}, "not what prag keys add writes"),
        ({"requests_per_minute": 0}, "requests_per_minute is 0, expected a whole number"),
        ({"tokens_per_minute": "many"}, "tokens_per_minute is 'many'"),
        ({"concurrent": True}, "concurrent is True"),
        ({"filter": {"tenant": None}}, "filter 'tenant'.*expected text"),
        ({"filter": "tenant=a"}, "expected an object"),
        ({"expires": "tomorrow"}, "expires is 'tomorrow'.*2030-01-31"),
        ({"requests": 3}, "unknown field 'requests'; an entry has id, name"),
    ],
)
def test_an_entry_that_cannot_be_used_is_named(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    entries = [make_key("one", Limits(), None, None)[1], make_key("two", Limits(), None, None)[1] | change]
    (tmp_path / "keys.yaml").write_text(yaml.safe_dump({"keys": entries}))
    with pytest.raises(ConfigError, match=rf"keys\.yaml: key 2: .*{message}"):
        load_keys(tmp_path / "keys.yaml")


@pytest.mark.parametrize(
    "content", ["", "[]", "keys: {}", "keys: [", "keys: []\nmore: 1", "\x00", "just text"]
)
def test_a_file_that_holds_no_keys_is_refused_by_name(content: str, tmp_path: Path) -> None:
    (tmp_path / "keys.yaml").write_text(content)
    with pytest.raises(ConfigError, match=r"keys\.yaml"):
        load_keys(tmp_path / "keys.yaml")
    with pytest.raises(ConfigError, match=r"none\.yaml: no such key file; create it with prag keys add"):
        read_entries(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="expected an entry"):
        read_entry("text", "here")


def test_a_moment_without_a_zone_is_utc_and_a_date_its_first_moment() -> None:
    expected = datetime(2030, 1, 31, tzinfo=UTC)
    for value in (
        "2030-01-31",
        "2030-01-31T00:00:00Z",
        "2030-01-31T02:00:00+02:00",
        expected.date(),
        expected.replace(tzinfo=None),
    ):
        assert read_moment(value, "here") == expected
    assert read_moment(None, "here") is None


def test_a_running_endpoint_follows_the_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, clock = tmp_path / "keys.yaml", Clock()
    (one, one_entry), (two, two_entry) = (make_key(name, Limits(), None, None) for name in ("one", "two"))
    write_entries(path, [one_entry])
    watched = WatchedKeys(path, clock)
    assert watched.current().verify(one, NOW) and not watched.current().verify(two, NOW)

    write_entries(path, [two_entry])
    assert watched.current().verify(one, NOW)  # within the second
    clock.now += 1
    assert watched.current().verify(two, NOW) and not watched.current().verify(one, NOW)

    path.write_text("keys: [")
    clock.now += 1
    with caplog.at_level(logging.ERROR):
        assert watched.current().verify(two, NOW)  # an edit gone wrong locks nobody out
    assert "stay as they were" in caplog.text

    path.unlink()
    clock.now += 1
    assert not watched.current().verify(two, NOW)  # a file that is gone lets nobody in
    write_entries(path, [one_entry])
    clock.now += 1
    assert watched.current().verify(one, NOW)


def test_a_file_that_is_wrong_at_the_start_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such key file"):
        WatchedKeys(tmp_path / "keys.yaml")
