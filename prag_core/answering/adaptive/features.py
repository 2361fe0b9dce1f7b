"""A question's features for a router: how it is worded, how many names are in it, and what retrieval makes of it.

Names are hidden: a run of capitalised words is the one word `#`, so that a router learns how questions are asked, not about
whom. A question's first word counts as a name unless it is a stop word. Retrieval is seen as ratios of scores and as names
found in titles, which do not hang on how large a corpus is: a router trained over one bank reads another of the same recipe.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from prag_core.records import Passage
from prag_core.retrieval.analyzer import fold, is_content_word

Features = dict[
    str, float
]  # words and pairs of neighbouring words: 1; what is counted or measured: its name begins with ":"
NAME = "#"
_WORD = re.compile(r"\w+(?:['\u2019-]\w+)*")


def describe(question: str, passages: Sequence[Passage] | None = None) -> Features:
    """Return a question's features; with `passages`, what it retrieves, best first, also those of retrieval."""
    words, names = _hide_names(question)
    features = dict.fromkeys([*words, *(f"{first} {second}" for first, second in pairwise(words))], 1.0)
    features |= {":words": math.log1p(len(words)), ":names": float(len(names))}
    return features if passages is None else features | _of_retrieval(names, passages)


def _hide_names(question: str) -> tuple[list[str], list[str]]:
    """The words with each name as `#`, and the names."""
    words: list[str] = []
    names: list[list[str]] = []
    for word, is_name in _words(question):
        if not is_name:
            words.append(fold(word))
        elif words and words[-1] == NAME:
            names[-1].append(word)
        else:
            words.append(NAME)
            names.append([word])
    return words, [" ".join(name) for name in names]


def _words(question: str) -> Iterator[tuple[str, bool]]:
    for place, word in enumerate(_WORD.findall(question)):
        yield word, word[0].isupper() and (place > 0 or is_content_word(word))


def _of_retrieval(names: Sequence[str], passages: Sequence[Passage]) -> Features:
    scores = [passage.score for passage in passages]
    best = scores[0] if scores and scores[0] > 0 else 0.0
    second, last = (scores[1] / best, scores[-1] / best) if best and len(scores) > 1 else (0.0, 0.0)
    titles = [fold(passage.title) for passage in passages if passage.title]
    met = sum(any(fold(name) in title or title in fold(name) for title in titles) for name in names)
    return {":second": second, ":last": last, ":found": float(bool(best)), ":met": met / max(len(names), 1)}
