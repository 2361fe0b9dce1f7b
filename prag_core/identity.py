"""Names made from content: of a document, a recipe, an adapter, a shard; of a model, see `models/source`.

Every identity is a SHA-256 over canonical JSON (sorted keys, no spaces, UTF-8), in hexadecimal. Nothing that differs
between two runs of the same work (paths, times, loop counters) is ever part of one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prag_core.records import Document

CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(value: Any) -> str:
    """SHA-256 of a JSON value in canonical form."""
    return hashlib.sha256(CANONICAL.encode(value).encode("utf-8", "surrogatepass")).hexdigest()


def content_hash(document: Document) -> str:
    """A document's wording. Metadata is left out: editing it re-trains nothing."""
    return digest([document.doc_id, document.chunk, document.title, document.text])


@dataclass(frozen=True)
class Recipe:
    """Everything that changes an adapter, as plain JSON values: model, prompt, augmentation, training, layout."""

    fields: dict[str, Any]

    @property
    def id(self) -> str:
        return digest(self.fields)


def adapter_version(content: str, recipe_id: str) -> str:
    """The identity of a document's adapter: its content under a recipe. The storage tier is not part of it."""
    return digest([content, recipe_id])


def shard_id(adapter_identities: Sequence[str]) -> str:
    """The identity of a shard: its ordered adapters'. Shortened to 20 digits for file names."""
    return digest(list(adapter_identities))[:20]


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
