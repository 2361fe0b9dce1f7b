"""Fields of a question set's record as text. Whole numbers count as the text that spells them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from prag_core.errors import CorpusError
from prag_core.files.rows import excerpt

SURROGATE = re.compile(r"[\ud800-\udfff]")  # half a character: cannot be encoded


def as_text(value: Any) -> str | None:
    """Text as it is, a whole number as text; None for anything else and for text that cannot be encoded."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and not SURROGATE.search(value) else None


def text_of(fields: Mapping[str, Any], name: str, place: str) -> str:
    """The text of a field. Raises CorpusError if it is missing, blank or no text."""
    text = as_text(fields.get(name))
    if text is None or not text.strip():
        raise CorpusError(f"{place}: {name} is {excerpt(fields.get(name))}; expected text that is not empty")
    return text


def texts_of(fields: Mapping[str, Any], name: str, place: str) -> tuple[str, ...]:
    """The texts of a field that is a list. Raises CorpusError for anything else."""
    value = fields.get(name)
    texts = [as_text(item) for item in value] if isinstance(value, list) else [None]
    if None in texts:
        raise CorpusError(f"{place}: {name} is {excerpt(value)}; expected a list of texts")
    return tuple(text for text in texts if text is not None)
