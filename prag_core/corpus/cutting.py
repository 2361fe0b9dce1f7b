"""Cut a text into the longest pieces that are accepted, at white space where there is some. Nothing is left out but blanks.

What is accepted is asked of a predicate (does this piece fit the model?), which costs a tokenisation. So the text is tokenised
once, the offsets of its tokens say where a piece will about end, and the predicate is asked near there only: about twice for each
cut. Guesses only save time; the pieces do not depend on them. semchunk is not used: it asks for counts of every nested piece, and
its pieces do not overlap by a number of tokens.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Predicate = Callable[[str], bool]
Guess = Callable[[int], int]  # a position in the text → where a piece from there on (or back) may end

BLANK = re.compile(r"\s")
WORD_START = re.compile(r"\s(?=\S)")


@dataclass(frozen=True, slots=True)
class TokenPlaces:
    """The places of a text's tokens: where each begins and ends, in characters."""

    starts: Sequence[int]
    ends: Sequence[int]

    @classmethod
    def of(cls, tokenizer: Any, text: str) -> TokenPlaces:
        """The places by one tokenisation; evenly spread over the text if the tokenizer cannot say them."""
        if getattr(tokenizer, "is_fast", False):
            encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
            places = encoded["offset_mapping"]
            return cls([start for start, _ in places], [end for _, end in places])
        count = max(1, len(tokenizer.encode(text, add_special_tokens=False)))
        edges = [len(text) * index // count for index in range(count + 1)]
        return cls(edges[:-1], edges[1:])

    def end_of(self, start: int, count: int) -> int:
        """The end of the `count` tokens from `start` on."""
        index = min(bisect_left(self.starts, start) + max(count, 1), len(self.ends)) - 1
        return self.ends[index] if index >= 0 else start

    def start_of(self, end: int, count: int) -> int:
        """The start of the last `count` tokens before `end`."""
        index = max(bisect_left(self.starts, end) - count, 0)
        return self.starts[index] if index < len(self.starts) else end


def chunk_text(
    text: str,
    fits: Predicate,
    overlaps: Predicate,
    guess_end: Guess = lambda start: start + 64,
    guess_overlap: Guess = lambda end: end - 64,
) -> list[str]:
    """Cut a text into the longest pieces that `fits` accepts.

    Each piece but the first begins with the longest end of the one before that `overlaps` accepts. Blank pieces are left out;
    all else is in some piece. Both predicates are taken to accept every part of what they accept.
    """
    ends = [*(match.end() for match in BLANK.finditer(text)), len(text)]
    starts = [match.end() for match in WORD_START.finditer(text)]
    chunks, start = [], 0
    while start < len(text):
        end = _end(text, start, fits, ends, guess_end(start))
        if text[start:end].strip():
            chunks.append(text[start:end])
        if end == len(text):
            break
        start = _overlap(text, start + 1, end, overlaps, starts, guess_overlap(end))
    return chunks


def _end(text: str, start: int, fits: Predicate, ends: Sequence[int], guess: int) -> int:
    """The end of the longest accepted piece from `start`, moved back behind white space but over at most half the piece."""
    first = bisect_right(ends, start)
    best = _last(first, len(ends), bisect_right(ends, guess) - 1, lambda i: fits(text[start : ends[i]]))
    if best == len(ends) - 1:
        return len(text)
    cut, too_far = ends[best] if best >= first else start, ends[best + 1]
    if cut > (start + too_far) // 2:
        return cut
    longest = _last(max(cut, start) + 1, too_far, max(cut, guess), lambda end: fits(text[start:end]))
    longest = max(longest, start + 1)
    return cut if cut > (start + longest) // 2 else longest


def _overlap(text: str, start: int, end: int, overlaps: Predicate, starts: Sequence[int], guess: int) -> int:
    """The start, not before `start`, of the longest accepted piece up to `end` that begins with a word, or anywhere if no
    accepted one does."""
    first, last = bisect_left(starts, start), bisect_left(starts, end) - 1
    back = _last(
        0,
        last - first + 1,
        last - bisect_left(starts, guess),
        lambda i: overlaps(text[starts[last - i] : end]),
    )
    if back >= 0:
        return starts[last - back]
    room = end - (starts[last] if last >= first else start - 1)
    return end - max(0, _last(1, room, end - guess, lambda length: overlaps(text[end - length : end])))


def _last(low: int, high: int, guess: int, accepts: Callable[[int], bool]) -> int:
    """The greatest number in [low, high) that is accepted, as if all less were too; low - 1 if none is.

    Asks about twice if `guess` is right, and with doubled steps away from it otherwise.
    """
    if low >= high:
        return low - 1
    guess, step = min(max(guess, low), high - 1), 1
    if accepts(guess):
        known, refused = guess, high
        while known + step < high:
            if not accepts(known + step):
                refused = known + step
                break
            known, step = known + step, 2 * step
    else:
        known, refused = low - 1, guess
        while refused - step >= low:
            if accepts(refused - step):
                known = refused - step
                break
            refused, step = refused - step, 2 * step
    while refused - known > 1:
        middle = (known + refused) // 2
        known, refused = (middle, refused) if accepts(middle) else (known, middle)
    return known
