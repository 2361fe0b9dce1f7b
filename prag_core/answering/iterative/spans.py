"""Find where tokens, words and sentences lie in a text, for the methods that look into their own generation.

spaCy, which the published code of FLARE and DRAGIN asks, is not used: it would be a dependency with a model of its own for one
language, the methods need sentence ends and content words only, and the stop words here are those that retrieval uses.

A sentence ends at `.`, `!` or `?` (with closing quotes or brackets) before white space, or at a line's end; not after a single
letter ("J. Smith") or one of a few titles ("Dr."). Sentences tile the text: white space belongs to the one before it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

Span = tuple[int, int]  # characters: start, end

# in time linear in the text: tried at the beginning of a run of marks only
_END = re.compile(r"""(?<![.!?])[.!?]+["')\]]*\s+|\n+\s*""")
_ABBREVIATION = re.compile(r"(?:^|[\s(])(?:[A-Za-z]|Dr|Mr|Mrs|Ms|St|Prof|Sr|Jr|Mt|vs|No)\.\s+\Z")
_LONGEST_ABBREVIATION = 5  # characters: "Prof" and the one before it


def sentence_spans(text: str) -> list[Span]:
    """Split `text` into sentences that tile it, none of them empty; "" has none."""
    starts = [0]
    for match in _END.finditer(text):
        before = max(starts[-1], match.start() - _LONGEST_ABBREVIATION)
        if not _ABBREVIATION.search(text[before : match.end()]) and match.end() < len(text):
            starts.append(match.end())
    return [(start, end) for start, end in zip(starts, [*starts[1:], len(text)], strict=True) if end > start]


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
