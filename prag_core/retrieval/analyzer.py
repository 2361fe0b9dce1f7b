"""Text → index terms: folded, split, stopped, stemmed. Documents and questions go through the same function.

Unicode is made compatible (NFKD) and accents are dropped, so that "Brontë" is found by "bronte" however it was typed. Runs of
letters and digits are words; one-letter words stay ("Malcolm X"). A script that writes no spaces becomes one word a run:
such a corpus needs another retriever.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

import bm25s.tokenization
import Stemmer

from prag_core.errors import ConfigError

WORD = re.compile(r"\w+")
Analyzer = Callable[[str], list[str]]
Stem = Callable[[list[str]], list[str]]


def make_analyzer(stemmer: str | None, stopwords: str | None) -> Analyzer:
    """The function from text to terms. `stemmer` is a Snowball language, `stopwords` a list of bm25s (`english`, or the
    longer `english_plus`); null leaves the step out. Raises ConfigError on an unknown name."""
    stopped = _stopwords(stopwords)
    stem = _stemmer(stemmer)

    def analyze(text: str) -> list[str]:
        words = (word for word in WORD.findall(fold(text)) if word not in stopped)
        return stem(list(words))

    return analyze


def fold(text: str) -> str:
    """Lower case, compatible forms, no combining accents."""
    if text.isascii():
        return text.lower()
    return "".join(
        char for char in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(char)
    )


def _stemmer(name: str | None) -> Stem:
    if name is None:
        return list
    try:
        return Stemmer.Stemmer(name, 100_000).stemWords
    except KeyError:
        raise ConfigError(
            f"retrieval.stemmer={name}: not known; one of {', '.join(Stemmer.algorithms())}, or null"
        ) from None


def _stopwords(name: str | None) -> frozenset[str]:
    if name is None:
        return frozenset()
    try:
        return frozenset(fold(word) for word in bm25s.tokenization.Tokenizer(stopwords=name).stopwords)
    except ValueError:
        raise ConfigError(
            f"retrieval.stopwords={name}: not known; english, english_plus or a language's name, or null"
        ) from None
