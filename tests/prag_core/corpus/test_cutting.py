"""Pieces are the longest that are accepted, overlap as asked, and leave nothing out but blanks."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from prag_core.corpus.cutting import TokenPlaces, chunk_text

TEXTS = st.text(st.sampled_from("abc \n"), max_size=120)
GUESSES = st.integers(-5, 130)


def cut_by_hand(text: str, size: int, overlap: int) -> list[str]:
    """Cut by trying every length: the longest piece of at most `size` characters, back to a blank in its second half;
    the next begins with a word in its last `overlap` characters, the earliest, or exactly there."""
    chunks, start = [], 0
    while start < len(text):
        longest = min(start + size, len(text))
        blanks = [i for i in range((start + longest) // 2 + 1, longest + 1) if text[i - 1].isspace()]
        end = longest if longest == len(text) or not blanks else blanks[-1]
        if text[start:end].strip():
            chunks.append(text[start:end])
        if end == len(text):
            break
        back = max(start + 1, end - overlap)
        words = [i for i in range(back, end) if text[i - 1].isspace() and not text[i].isspace()]
        start = words[0] if words else back
    return chunks


@given(TEXTS, st.integers(1, 40), st.integers(0, 20), GUESSES, GUESSES)
def test_pieces_are_those_of_trying_every_length_whatever_is_guessed(
    text: str, size: int, overlap: int, ends: int, starts: int
) -> None:
    overlap = min(overlap, size // 2)
    chunks = chunk_text(
        text, lambda p: len(p) <= size, lambda p: len(p) <= overlap, lambda at: ends, lambda at: at - starts
    )
    assert chunks == cut_by_hand(text, size, overlap)


@given(TEXTS, st.integers(1, 40))
def test_without_overlap_the_pieces_join_to_the_text_but_for_blank_ones(text: str, size: int) -> None:
    chunks = chunk_text(text, lambda p: len(p) <= size, lambda p: p == "")
    assert all(len(chunk) <= size and chunk.strip() for chunk in chunks)
    assert "".join("".join(chunks).split()) == "".join(text.split())


def test_token_places_are_the_tokenizers_own(tiny_tokenizer: Any) -> None:
    text = "one two thrée"
    places = TokenPlaces.of(tiny_tokenizer, text)
    assert places.starts[0] == 0 and places.ends[-1] == len(text)
    assert (places.end_of(4, 3), places.start_of(7, 3)) == (7, 4), "a token a byte"
    assert (places.end_of(0, 1000), places.start_of(5, 1000)) == (len(text), 0)


def test_words_stay_whole_where_they_can() -> None:
    words = [f"word{i}" for i in range(60)]
    chunks = chunk_text(" ".join(words), lambda text: len(text) <= 50, lambda text: len(text) <= 12)
    assert {word for chunk in chunks for word in chunk.split()} == set(words)


def test_neighbours_share_about_the_overlap_and_no_more() -> None:
    text = " ".join(f"w{i:03}" for i in range(100))  # five characters a word with its space
    chunks = chunk_text(text, lambda piece: len(piece) <= 50, lambda piece: len(piece) <= 10)
    for left, right in itertools.pairwise(chunks):
        shared = set(left.split()) & set(right.split())
        assert len(shared) == 2
    assert len(chunks) < 14


def test_without_overlap_the_chunks_joined_are_the_text() -> None:
    text = "one two three four five six seven " * 5
    assert "".join(chunk_text(text, lambda piece: len(piece) <= 20, lambda piece: piece == "")) == text


def test_a_word_longer_than_a_chunk_is_cut_inside() -> None:
    assert chunk_text("x" * 25, lambda piece: len(piece) <= 10, lambda piece: piece == "") == [
        "x" * 10,
        "x" * 10,
        "x" * 5,
    ]


def test_a_chunk_of_blanks_is_left_out() -> None:
    assert (
        chunk_text("a" + " " * 50 + "b", lambda piece: len(piece) <= 10, lambda piece: piece == "")[
            -1
        ].strip()
        == "b"
    )
    assert all(
        c.strip()
        for c in chunk_text("a" + " " * 50 + "b", lambda piece: len(piece) <= 10, lambda piece: piece == "")
    )
