from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from prag_core.bank import sealed
from prag_core.bank.sealed import read_sealed, seal, unseal
from prag_core.errors import CorruptBankError
from prag_core.storage import open_root, put_whole

FIELDS = {"name": "größe", "list": [1, 2.5, None], "nested": {"b": True, "a": ""}}


def test_fields_come_back() -> None:
    assert unseal(seal(FIELDS), "file") == FIELDS


def test_any_changed_byte_is_noticed_and_the_file_named() -> None:
    data = seal(FIELDS)
    for place in range(len(data)):
        with pytest.raises(CorruptBankError, match=r"some/file\.json is damaged"):
            unseal(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :], "some/file.json")


@pytest.mark.parametrize("data", [b"", b"[]", b"3", b"{}", json.dumps(FIELDS).encode(), seal(FIELDS)[:-1]])
def test_what_was_never_sealed_is_refused(data: bytes) -> None:
    with pytest.raises(CorruptBankError):
        unseal(data, "file")


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b'{"a": ' + b"9" * 10_000 + b"}",
        b"[" + b"[]," * (sealed.MOST_CONTAINERS + 1) + b"[]]",
        b'{"sha256": 1e999}',
        b'{"sha256": "\\ud800"}',
        b"\xff\xfe{\x00}\x00",
    ],
    ids=["deep lists", "deep objects", "long number", "many lists", "infinity", "surrogate", "utf-16"],
)
def test_json_that_would_exhaust_the_reader_is_damage(data: bytes) -> None:
    with pytest.raises(CorruptBankError, match="the file"):
        unseal(data, "the file")


def test_a_sealed_file_is_read_no_further_than_any_is_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "huge.json").open("wb") as file:
        file.truncate(1 << 40)
    monkeypatch.setattr(sealed, "MOST_BYTES", 1000)
    with pytest.raises(CorruptBankError, match=r"huge\.json"):
        read_sealed(open_root(str(tmp_path))[0], str(tmp_path / "huge.json"))


def test_a_field_that_is_not_there_is_damage_of_that_file() -> None:
    fields = pickle.loads(pickle.dumps(unseal(seal(FIELDS), "the file")))
    assert fields == FIELDS and fields.get("other") is None
    with pytest.raises(CorruptBankError, match=r"the file.*'other'"):
        fields["other"]


def test_what_a_network_garbles_once_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    fs, path = open_root("memory://sealed-garbled")
    put_whole(fs, path, seal(FIELDS))
    garbled = iter([seal(FIELDS)[:-5], seal(FIELDS)])
    monkeypatch.setattr(sealed, "read", lambda *_: next(garbled))
    assert read_sealed(fs, path) == FIELDS
