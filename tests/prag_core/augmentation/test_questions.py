"""Questions of marked answers: by code, by a model, and asked back."""

from __future__ import annotations

import pytest

from prag_core.augmentation.questions import (
    comes_back,
    echo_question,
    first_words,
    read_question,
    reading_prompt,
    turning_prompt,
    with_title,
)
from prag_core.augmentation.spans import Span, choose_spans


def span(sentence: str, answer: str) -> Span:
    (found,) = [s for s in choose_spans(sentence, 99) if s.text == answer]
    return found


PRICE = span("The agency charges 17 euros for a booking by telephone.", "17 euros")
MIRROR = span("She works best with a small mirror in her hand.", "small mirror")


def test_an_echo_question_is_the_sentence_with_a_question_word_for_the_answer() -> None:
    assert echo_question(PRICE) == "The agency charges how many euros for a booking by telephone?"
    assert echo_question(MIRROR) == "She works best with what in her hand?"  # the article goes with the noun


def test_an_echo_question_follows_the_question_that_the_passage_asks_itself() -> None:
    assert (
        echo_question(span("When does my money come? On the 25th.", "25th"))
        == "When does my money come? On what?"
    )


def test_a_model_goes_on_after_the_first_words_and_does_not_see_the_answer() -> None:
    prompt = turning_prompt(PRICE)
    assert prompt.endswith("booking by telephone?\nQuestion: How many euros") and "17 euros" not in prompt
    assert first_words(span("The first buoy was sold in 2017 to a farm.", "2017")) == "In which year"


def test_a_written_question_ends_at_its_first_question_mark() -> None:
    assert read_question(PRICE, " does a  booking cost? And why") == "How many euros does a booking cost?"
    assert read_question(PRICE, " does a booking cost") == "How many euros does a booking cost?"


def test_a_title_stands_before_a_question_that_does_not_say_what_it_is_about() -> None:
    assert with_title("What does it weigh?", "Lantern 20") == "Lantern 20: What does it weigh?"
    assert with_title("What does the Lantern 20 weigh?", "Lantern 20") == "What does the Lantern 20 weigh?"
    assert with_title("What does it weigh?", "") == "What does it weigh?"


def test_a_question_is_asked_back_over_its_sentence() -> None:
    assert reading_prompt("How much?", PRICE).endswith(
        "Text: The agency charges 17 euros for a booking by telephone.\nQuestion: How much?\nAnswer:"
    )


@pytest.mark.parametrize(
    ("asked", "reply", "right"),
    [
        (PRICE, " 17 euros.", True),
        (PRICE, "It is 17 euros for each", True),
        (PRICE, " 17", True),
        (PRICE, " 7 euros", False),
        (PRICE, " 117 euros", False),
        (PRICE, "", False),
        (MIRROR, "a mirror", True),
        (MIRROR, "a very small mirror", True),
        (MIRROR, "her hand", False),
    ],
)
def test_an_answer_comes_back_whole_if_it_is_a_number_else_mostly(
    asked: Span, reply: str, right: bool
) -> None:
    assert comes_back(asked, reply) is right
