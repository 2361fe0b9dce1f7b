"""Sealed JSON: small files that notice any changed byte.

A sealed file is JSON with the SHA-256 of its other fields. It is accepted only if its bytes are exactly those that sealing
its fields gives.
"""

from __future__ import annotations

import json
from typing import Any

from prag_core.errors import CorruptBankError
from prag_core.identity import digest


def seal(fields: dict[str, Any]) -> bytes:
    """Encode `fields` as JSON together with their digest."""
    sealed = {**fields, "sha256": digest(fields)}
    return (json.dumps(sealed, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def unseal(data: bytes, name: str) -> dict[str, Any]:
    """Decode the fields of a sealed file. Raises CorruptBankError, with its name, unless every byte is as it was sealed."""
    try:
        fields = json.loads(data)
        fields.pop("sha256")
        intact = seal(fields) == data
    except (ValueError, KeyError, AttributeError, TypeError):
        intact = False
    if not intact:
        raise CorruptBankError(
            f"{name} is damaged: its bytes are not those that were written; restore it from a copy"
        )
    return dict(fields)
