"""Where the sentences of a text lie.

A sentence ends at `.`, `!` or `?` (with closing quotes or brackets) before white space, or at a line's end; not after a single
letter ("J. Smith") or one of a few titles ("Dr."). Sentences tile the text: white space belongs to the one before it.
"""

from __future__ import annotations

import re

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
