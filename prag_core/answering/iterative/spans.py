"""Find where tokens and words lie in a text, for the methods that look into their own generation.

spaCy, which the published code of FLARE and DRAGIN asks, is not used: it would be a dependency with a model of its own for one
language, the methods need sentence ends and content words only, and the stop words here are those that retrieval uses.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from prag_core.text.sentences import Span


def word_spans(text: str) -> list[Span]:
    """Find runs without white space: words with the punctuation that touches them."""
    return [match.span() for match in re.finditer(r"\S+", text)]


def token_spans(tokenizer: Any, token_ids: Sequence[int]) -> list[Span]:
    """Find the characters that each token adds to the text of those before it. They tile the decoded text."""
    ends = [
        len(tokenizer.decode(list(token_ids[:i]), skip_special_tokens=True))
        for i in range(len(token_ids) + 1)
    ]
    ends = [
        max(ends[: i + 1]) for i in range(len(ends))
    ]  # half a character decodes longer than the whole one
    return list(pairwise(ends))


def tokens_in(tokens: Sequence[Span], span: Span) -> range:
    """Find the tokens that end inside a span: " The" belongs to the sentence that "The" begins."""
    inside = [i for i, (start, end) in enumerate(tokens) if span[0] <= max(end - 1, start) < span[1]]
    return range(inside[0], inside[-1] + 1) if inside else range(0)
