"""Sentences tile a text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prag_core.text.sentences import sentence_spans


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("", []),
        ("Rome", ["Rome"]),
        ("It is 3.5 m. Really? Yes!", ["It is 3.5 m. Really? ", "Yes!"]),  # a single letter is an initial
        ("J. Smith met Dr. Bo. They left.", ["J. Smith met Dr. Bo. ", "They left."]),
        ('He said "no." Then he left.\nAnd so on', ['He said "no." ', "Then he left.\n", "And so on"]),
    ],
)
def test_sentences_end_where_a_reader_would_end_them(text: str, sentences: list[str]) -> None:
    assert [text[slice(*span)] for span in sentence_spans(text)] == sentences


@given(st.text(alphabet="aB.!? \n\"'", max_size=40))
def test_sentences_tile_the_text(text: str) -> None:
    assert "".join(text[slice(*span)] for span in sentence_spans(text)) == text
