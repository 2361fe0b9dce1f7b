"""Tokens belong to one sentence each."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from prag_core.answering.iterative.spans import (
    token_spans,
    tokens_in,
    word_spans,
)
from prag_core.text.sentences import sentence_spans


@given(st.text(max_size=30))
def test_every_token_belongs_to_exactly_one_sentence(text: str) -> None:
    tokens = [(i, i + 1) for i in range(len(text))]
    owned = [i for span in sentence_spans(text) for i in tokens_in(tokens, span)]
    assert owned == list(range(len(tokens)))


def test_tokens_of_half_a_character_add_up_to_the_text(tiny_tokenizer: Any) -> None:
    token_ids = tiny_tokenizer.encode("née Å.", add_special_tokens=False)
    spans = token_spans(tiny_tokenizer, token_ids)
    assert len(token_ids) == 8 and len(spans) == 8 and spans[-1][1] == len("née Å.")
    assert all(left[1] == right[0] for left, right in pairwise(spans))


def test_words_tile_a_text_between_white_space() -> None:
    text = "She wrote, in 1912, the Iris ."
    words = [text[slice(*span)] for span in word_spans(text)]
    assert words == ["She", "wrote,", "in", "1912,", "the", "Iris", "."]
