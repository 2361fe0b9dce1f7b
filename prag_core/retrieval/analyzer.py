"""Text → index terms: folded, split, stopped, stemmed. Documents and questions go through the same function.

- HTML entities are decoded ("AT&amp;T"); Unicode is made compatible (NFKD); accents, vowel points and invisible
  characters (soft hyphens, zero-width joiners) are dropped, so that "bronte" matches "Brontë" however it was typed.
- Words are runs of letters, digits and the marks that spell them (Hindi's vowel signs); `_` separates. One-letter words stay
  ("Malcolm X").
- Scripts without spaces between words (Han, Kana, Thai, …) become pairs of neighbouring characters, as in Lucene's
  CJKAnalyzer: no segmenter is needed, and matches are coarser than words.

`index_store.FORMAT` must change with what this file does to any text: an index is searched with the analyzer it was built by.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable
from functools import cache
from itertools import pairwise

import bm25s.tokenization
import regex
import Stemmer

UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\u30fc\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}"
ASCII_WORD = re.compile(r"[a-z0-9]+")
WORD = regex.compile(
    rf"(?P<unspaced>[{UNSPACED}][{UNSPACED}\p{{M}}]*)|[[\p{{L}}\p{{N}}\p{{Mn}}\p{{Mc}}]--[{UNSPACED}]]+",
    regex.V1,
)
CHARACTER = regex.compile(rf"[{UNSPACED}]\p{{M}}*")
LETTER = regex.compile(r"\p{L}")
INVISIBLE = regex.compile(r"\p{Default_Ignorable_Code_Point}")
# Unicode's Stream-Safe Text Format: ordering a longer run of marks takes time quadratic in it
MARKS_BEYOND_30 = regex.compile(r"(?<=\p{M}{30})\p{M}+")
ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
NOTED_SHARE = 0.05  # of a corpus, from which on users are told
SAMPLED_CHARACTERS = 1000  # of a text, to tell its script
Stem = Callable[[list[str]], list[str]]


class Analyzer:
    """The function from text to terms.

    `stemmer` is a Snowball language, `stopwords` a list of bm25s (`english`, or the longer `english_plus`); None leaves the
    step out. The names are those of the settings `retrieval.stemmer` and `retrieval.stopwords`, which are checked at load.
    """

    def __init__(self, stemmer: str | None, stopwords: str | None) -> None:
        self._stopwords = _stopwords(stopwords)
        self._stem = _stemmer(stemmer)

    def __call__(self, text: str) -> list[str]:
        """The terms of a text, without stop words."""
        return self.split(text)[0]

    def split(self, text: str) -> tuple[list[str], list[str]]:
        """The terms of a text that are no stop words, and those that are."""
        words: list[str] = []
        stops: list[str] = []
        for word in _words(fold(text)):
            (stops if word in self._stopwords else words).append(word)
        return self._stem(words), self._stem(stops)


def fold(text: str) -> str:
    """Lower case and compatible forms, without HTML entities, accents, vowel points and invisible characters."""
    if "&" in text:
        text = ENTITY.sub(lambda match: html.unescape(match.group()), text)
    if text.isascii():
        return text.lower()
    text = MARKS_BEYOND_30.sub("", INVISIBLE.sub("", text))
    text = unicodedata.normalize("NFKD", text).casefold()
    return "".join(char for char in text if not _is_accent(char))


def is_content_word(word: str) -> bool:
    """Whether a word, with the punctuation that touches it, is more than English stop words (bm25s's `english_plus`).

    Published code that asks this (DRAGIN's) takes nouns, adjectives, verbs, proper nouns and numbers by spaCy's tagger instead.
    """
    return bool(_content_words()(word))


def is_unspaced(text: str) -> bool:
    """Whether most letters of a text, judged by its beginning, are of a script without spaces between words."""
    if text.isascii():
        return False
    sample = text[:SAMPLED_CHARACTERS]
    return 2 * len(CHARACTER.findall(sample)) > len(LETTER.findall(sample))


def unspaced_note(num_unspaced: int, num_documents: int) -> str | None:
    """Note for a user whose corpus has a sizeable share of documents that are `is_unspaced`; None otherwise."""
    if num_unspaced < NOTED_SHARE * num_documents or not num_unspaced:
        return None
    return (
        f"{100 * num_unspaced / num_documents:.0f} % of the documents are in scripts without spaces between words, such as "
        "Chinese, Japanese or Thai; retrieval compares pairs of neighbouring characters there, and prompts are in English: "
        "check what questions retrieve before relying on it (docs/corpus.md)"
    )


@cache
def _content_words() -> Analyzer:
    return Analyzer(None, "english_plus")


def _words(text: str) -> list[str]:
    if text.isascii():
        return ASCII_WORD.findall(text)
    words: list[str] = []
    for match in WORD.finditer(text):
        words += _pairs(match.group()) if match["unspaced"] else [match.group()]
    return words


def _pairs(run: str) -> list[str]:
    characters = CHARACTER.findall(run)
    return [first + second for first, second in pairwise(characters)] or characters


def _is_accent(char: str) -> bool:
    """Whether a combining mark may be left out in writing: an accent, a Hebrew or Arabic vowel point, an Indic nukta.

    Its canonical combining class decides. Marks of other classes spell: vowel signs and viramas of Indic scripts, the voicing
    of Kana, tones of Thai.
    """
    kind = unicodedata.combining(char)
    return kind in (1, 7) or 10 <= kind <= 36 or kind >= 200


def _stemmer(name: str | None) -> Stem:
    if name is None:
        return list
    return Stemmer.Stemmer(name, 100_000).stemWords


def _stopwords(name: str | None) -> frozenset[str]:
    if name is None:
        return frozenset()
    return frozenset(fold(word) for word in bm25s.tokenization.Tokenizer(stopwords=name).stopwords)
