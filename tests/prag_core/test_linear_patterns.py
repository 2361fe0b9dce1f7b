"""No text makes a pattern run for long: each function that matches patterns takes time linear in what users send."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import suppress

import pytest

from prag_core.answering.adaptive.features import describe
from prag_core.answering.iterative.spans import word_spans
from prag_core.corpus.cutting import chunk_text
from prag_core.corpus.documents import UnusableRow, to_document
from prag_core.evaluation.metrics import extract_answer, normalise
from prag_core.models.prompts import normalise_answer, normalise_question
from prag_core.questions.fields import as_text
from prag_core.retrieval.analyzer import Analyzer, is_content_word, is_unspaced
from prag_core.text.sentences import sentence_spans

LENGTH = 200_000  # characters: a step for each pair of them would take hours
ADVERSARIAL = {
    "marks before a letter": "a" + "?" * LENGTH + "x",
    "blanks before a letter": "a" + " " * LENGTH + "x",
    "marks and blanks": "? " * (LENGTH // 2) + "x",
    "full stops": "." * LENGTH + "x",
    "full stops and quotes": '."' * (LENGTH // 2) + "x",
    "abbreviations": "A. " * (LENGTH // 3),
    "titles": "Dr. " * (LENGTH // 4) + "x",
    "line ends": "\n" * LENGTH + "x",
    "apostrophes": "a'" * (LENGTH // 2),
    "hyphens": "-" * LENGTH,
    "ampersands": "&" * LENGTH,
    "half entities": "&#1" * (LENGTH // 3),
    "articles": "a an the " * (LENGTH // 9),
    "digits": "1" * LENGTH + ".",
    "one character of a script without spaces": "\u4e2d" * LENGTH,
    "marks that combine": "\u4e2d" + "\u0300" * LENGTH,
    "marks out of order": "a" + "\u0300\u0316" * (LENGTH // 2),
    "invisible characters": "\u200b" * LENGTH + "x",
    "one word": "a" * LENGTH,
    "capitals": "Aa " * (LENGTH // 3),
}


def document(text: str) -> None:
    for fields in ({"doc_id": "a", "text": text}, {"doc_id": text, "text": "a"}):
        with suppress(UnusableRow):
            to_document(fields)


def chunks(text: str) -> list[str]:
    return chunk_text(text, lambda piece: len(piece) <= 2000, lambda piece: len(piece) <= 100)


FUNCTIONS: list[Callable[[str], object]] = [
    normalise_question,
    normalise_answer,
    sentence_spans,
    word_spans,
    describe,
    normalise,
    extract_answer,
    Analyzer("english", "english"),
    is_content_word,
    is_unspaced,
    document,
    chunks,
    as_text,
]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("text", ADVERSARIAL.values(), ids=ADVERSARIAL.keys())
@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: getattr(f, "__name__", type(f).__name__))
def test_a_long_text_made_to_be_slow_is_not(function: Callable[[str], object], text: str) -> None:
    function(text)


@pytest.mark.timeout(60)
def test_what_the_command_line_and_the_endpoint_match_is_linear_too() -> None:
    from cluster.app import ORIGIN
    from cluster.http.request_log import REQUEST_ID
    from jobs.bank import duration

    for text in ADVERSARIAL.values():
        with suppress(argparse.ArgumentTypeError):
            duration(text)
        assert not REQUEST_ID.fullmatch(text)
        assert not ORIGIN.fullmatch(text)
