from __future__ import annotations

import json

import pytest

from prag_core.bank.sealed import seal, unseal
from prag_core.errors import CorruptBankError

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
