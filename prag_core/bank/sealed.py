"""Sealed JSON: small files that notice any changed byte.

A sealed file is JSON with the SHA-256 of its other fields. It is accepted only if its bytes are exactly those that sealing
its fields gives. Whoever hands a bank on can seal anything: what a field holds is checked where it is used.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

from prag_core.errors import CorruptBankError
from prag_core.identity import digest
from prag_core.storage import FileSystem, read

T = TypeVar("T")
MOST_BYTES = 1 << 28  # of a sealed file: a manifest of a million objects
MOST_CONTAINERS = 1 << 23  # lists and objects in it: one takes up to 60 times as much memory as in the file


class SealedFields(dict[str, Any]):
    """The fields of a sealed file. One that is not there is damage, and says in which file."""

    def __init__(self, fields: dict[str, Any], name: str) -> None:
        super().__init__(fields)
        self.name = name

    def __missing__(self, key: str) -> Any:
        raise CorruptBankError(f"{self.name} is damaged: it has no {key!r}; restore it from a copy")


def seal(fields: dict[str, Any]) -> bytes:
    """Encode `fields` as JSON together with their digest."""
    sealed = {**fields, "sha256": digest(fields)}
    return (json.dumps(sealed, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def unseal(data: bytes, name: str) -> dict[str, Any]:
    """Decode the fields of a sealed file. Raises CorruptBankError, with its name, unless every byte is as it was sealed."""
    fields: dict[str, Any] = {}
    intact = len(data) <= MOST_BYTES and data.count(b"[") + data.count(b"{") <= MOST_CONTAINERS
    if intact:
        try:
            fields = json.loads(data)
            fields.pop("sha256")
            intact = seal(fields) == data
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
            intact = False
    if not intact:
        raise CorruptBankError(
            f"{name} is damaged: its bytes are not those that were written; restore it from a copy"
        )
    return SealedFields(fields, name)


def read_sealed(fs: FileSystem, path: str) -> dict[str, Any]:
    """Read the fields of a sealed file, once more if its bytes are wrong. Raises FileNotFoundError, or CorruptBankError naming
    the file."""
    return once_more(lambda: unseal(read(fs, path, MOST_BYTES + 1), path))


def once_more(look: Callable[[], T]) -> T:
    """Return what `look` reads; where it finds damage it looks once more, since a network may garble what lies there well."""
    try:
        return look()
    except CorruptBankError:
        return look()
