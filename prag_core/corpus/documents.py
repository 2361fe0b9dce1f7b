"""Conversion of a corpus's rows to documents.

The id is `doc_id`, `id` or `_id`: text or a whole number. The text is `text` or `contents`, whichever is not blank; `title` is
optional. A mapping `metadata` is kept, and every other field is added to it (a key that `metadata` has wins).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from prag_core.corpus.formats import ID_FIELDS, TEXT_FIELDS
from prag_core.files.rows import pick
from prag_core.records import Document

MAX_ID_CHARACTERS = 1024
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
SURROGATE = re.compile(r"[\ud800-\udfff]")


class UnusableRow(ValueError):
    """A row that is no document; the message says why, without its place."""


def to_document(fields: Mapping[str, Any]) -> Document:
    """Make a row a document. Raises UnusableRow naming the field and, if the row has one, the id."""
    rest = dict(fields)
    doc_id = _take_id(rest)
    try:
        text = _take_text(rest)
        title = _take_string(rest, "title")
        metadata = _take_metadata(rest)
    except UnusableRow as error:
        raise UnusableRow(f"document {doc_id!r} {error}") from None
    return Document(doc_id, text, title, metadata=metadata)


def _take_id(fields: dict[str, Any]) -> str:
    name = pick(fields, ID_FIELDS)
    if name is None:
        raise UnusableRow("a document without an id; give each a 'doc_id' that is its own")
    value = fields.pop(name)
    doc_id = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(doc_id, str):
        raise UnusableRow(f"{name} is {_kind(value)}, expected text or a whole number")
    if not doc_id.strip():
        raise UnusableRow(f"{name} is empty; give each document an id that is its own")
    if len(doc_id) > MAX_ID_CHARACTERS:
        length = f"{len(doc_id):,} characters; at most {MAX_ID_CHARACTERS:,} are allowed"
        raise UnusableRow(f"{name} {doc_id[:40]!r}… has {length}")
    if match := CONTROL.search(doc_id) or SURROGATE.search(doc_id):
        character = f"U+{ord(match.group()):04X}"
        rule = "control characters and lone surrogates are not allowed in ids"
        raise UnusableRow(f"{name} {doc_id!r} holds the character {character}; {rule}")
    return doc_id


def _take_text(fields: dict[str, Any]) -> str:
    """The first of the text fields that is not blank; blank ones are dropped, a further text becomes metadata."""
    for name in TEXT_FIELDS:
        if not _is_blank(fields.get(name)):
            return _take_string(fields, name)
        fields.pop(name, None)
    raise UnusableRow(f"has no text; give it a {TEXT_FIELDS[0]!r} or remove it")


def _take_string(fields: dict[str, Any], name: str) -> str:
    value = fields.pop(name, None)
    if value is None or _is_nan(value):
        return ""
    if not isinstance(value, str):
        raise UnusableRow(f"cannot be used: {name} is {_kind(value)}, expected text")
    if "\0" in value or (not value.isascii() and SURROGATE.search(value)):
        raise UnusableRow(
            f"cannot be used: {name} holds a NUL character or a lone surrogate (half a character); clean the text"
        )
    return value


def _take_metadata(fields: dict[str, Any]) -> dict[str, Any]:
    """The `metadata` field and all other fields as plain JSON: dates and the like as text, NaN and infinity as null."""
    metadata = fields.pop("metadata", None)
    if _is_blank(metadata):
        metadata = {}
    if isinstance(metadata, str):
        metadata = _parse_metadata(metadata)
    if not isinstance(metadata, Mapping):
        raise UnusableRow(
            f"cannot be used: metadata is {_kind(metadata)}, expected a mapping of names to values"
        )
    if not fields and not metadata:
        return {}
    try:
        text = json.dumps(_finite({**fields, **metadata}), default=str, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise UnusableRow(f"cannot be used: metadata cannot be written as JSON ({error})") from None
    values: dict[str, Any] = json.loads(text)
    return values


def _parse_metadata(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise UnusableRow(
            "cannot be used: metadata is text that is not JSON; expected a mapping of names to values"
        ) from None


def _finite(value: Any) -> Any:
    """The value with None in place of every number that JSON does not have."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {name: _finite(item) for name, item in value.items()}
        case list() | tuple():
            return [_finite(item) for item in value]
    return value


def _is_blank(value: Any) -> bool:
    """Whether a field is missing or has nothing to read."""
    return value is None or _is_nan(value) or (isinstance(value, str) and not value.strip())


def _is_nan(value: Any) -> bool:
    """Data frames write an empty cell so."""
    return isinstance(value, float) and math.isnan(value)


def _kind(value: Any) -> str:
    return f"{value!r:.40} ({type(value).__name__})"
