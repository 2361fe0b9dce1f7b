"""Where everything lies in a bank, and the sealed JSON that its small files are.

    BANK/bank.json                              format, recipe, adapter layout, initial adapter
    BANK/init/<digest>.safetensors              the shared initial adapter
    BANK/runs/<run>/…                           what a run was told: configuration, versions, plan; what its shards took
    BANK/documents/<shard>-<attempt>.parquet       what came in
    BANK/augmentations/<shard>-<attempt>.parquet   what the language model wrote
    BANK/adapters/<shard>-<attempt>.parquet        one row an adapter
    BANK/rows/<shard>-<attempt>.parquet            where in that object each adapter's bytes lie
    BANK/failures/<shard>-<attempt>.parquet        what was set aside, and why
    BANK/commits/<stage>/<shard>.json           which attempt of a shard counts
    BANK/snapshots/<number>-<digest>/…          manifest.json, index.parquet: what a corpus is made of
    BANK/indexes/<snapshot>-<digest>/…          retrieval indexes, built from a snapshot

A sealed file is JSON with the SHA-256 of its other fields; it is accepted only if its bytes are exactly what sealing its
fields gives, so that any changed byte is noticed.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass
from enum import Enum
from typing import Any

from prag_core.errors import CorruptBankError
from prag_core.identity import digest

FORMAT = 1
BANK_FILE = "bank.json"
KINDS = ("documents", "augmentations", "adapters", "rows", "failures")


class Stage(Enum):
    """The two kinds of work that are committed shard by shard."""

    augmentations = "augmentations"
    adapters = "adapters"


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """A data object: its path within the bank, and what it must hold."""

    path: str
    rows: int
    bytes: int
    sha256: str

    @property
    def kind(self) -> str:
        return self.path.split("/", 1)[0]


def new_attempt() -> str:
    """A name no other attempt has."""
    return uuid.uuid4().hex[:16]


def object_path(kind: str, shard_id: str, attempt: str) -> str:
    return f"{kind}/{shard_id}-{attempt}.parquet"


def marker_path(stage: Stage, shard_id: str) -> str:
    return f"commits/{stage.value}/{shard_id}.json"


def seal(fields: dict[str, Any]) -> bytes:
    """`fields` as JSON with the digest of themselves."""
    return (
        json.dumps({**fields, "sha256": digest(fields)}, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    ).encode()


def unseal(data: bytes, name: str) -> dict[str, Any]:
    """The fields of a sealed file. Raises CorruptBankError, naming it, unless every byte is as it was sealed."""
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


def check_digest(data: bytes, expected: str, name: str) -> bytes:
    """`data`, if its SHA-256 is as expected. Raises CorruptBankError naming the object."""
    if hashlib.sha256(data).hexdigest() != expected:
        raise CorruptBankError(
            f"{name} is damaged: its SHA-256 is not the recorded {expected[:12]}…; run prag bank verify"
        )
    return data
