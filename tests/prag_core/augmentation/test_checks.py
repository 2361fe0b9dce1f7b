"""What a weak model writes, and what is wrong with it."""

from __future__ import annotations

import pytest

from prag_core.augmentation.checks import (
    Reason,
    describe_tally,
    pair_problem,
    question_problem,
    rewrite_problem,
)
from prag_core.records import QAPair

PASSAGE = (
    "Eltis\nThe Eltis is 718 km long and ends in the Grey Sea. Margit Steen measured it in 1931 for the Board of Rivers, which "
    "paid 1,200 crowns. Barges carry grain on it."
)


def problem(question: str, answer: str, passage: str = PASSAGE, known: tuple[str, ...] = ()) -> Reason | None:
    return pair_problem(QAPair(question, answer, answer), passage, known)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("How long is the Eltis?", "718 km"),
        ("How long is the Eltis", "718 km long"),
        ("What did the Board of Rivers pay?", "1200 crowns"),
        ("What is carried by barges?", "The grain"),
        ("Is the Eltis long?", "Yes"),
        ("Wie lang ist die Eltis?", "718 km"),
        ("Who measured it, and when?", "Margit Steen, 1931"),
    ],
)
def test_a_sound_pair_has_no_problem(question: str, answer: str) -> None:
    assert problem(question, answer) is None


@pytest.mark.parametrize(
    ("question", "answer", "reason"),
    [
        ("What is the capital of France?", "Paris", Reason.copied_example),
        ("what is the capital of France", "the Grey Sea", Reason.copied_example),
        ("The Eltis ends in the Grey Sea.", "the Grey Sea", Reason.not_a_question),
        ("Eltis", "the Grey Sea", Reason.not_a_question),
        ("How long is it?", "718 miles", Reason.not_in_passage),
        ("How long is it?", "71 km", Reason.not_in_passage),
        ("Where does it end?", "in the Black Sea", Reason.not_in_passage),
        ("Where does it end?", "Unknown", Reason.not_in_passage),
        ("Where does it end?", "the", Reason.not_in_passage),
    ],
)
def test_an_unsound_pair_has_its_reason(question: str, answer: str, reason: Reason) -> None:
    assert problem(question, answer) is reason


def test_the_prompts_example_is_no_copy_in_a_passage_about_france() -> None:
    passage = "The capital of France is Paris."
    assert problem("What is the capital of France?", "Paris", passage) is None


def test_a_question_that_the_document_has_already_is_repeated() -> None:
    assert problem("How  long is IT", "718 km", known=("how long is it?",)) is Reason.repeated


def test_an_answer_in_a_script_without_spaces_is_found_in_it() -> None:
    passage = "\u6771\u4eac\u306f\u65e5\u672c\u306e\u9996\u90fd\u3067\u3059\u3002"
    assert problem("\u9996\u90fd\u306f\uff1f", "\u6771\u4eac", passage) is None


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ("How long is the Eltis?", None),
        ("How long is the Eltis that is 718 km long?", Reason.gives_answer_away),
        ("How many days does the hotel in London stay open?", Reason.about_something_else),
        ("What is it?", Reason.about_something_else),
    ],
)
def test_a_written_question_asks_about_the_passage_and_keeps_the_answer(
    question: str, reason: Reason | None
) -> None:
    assert question_problem(question, "718 km", PASSAGE) is reason


@pytest.mark.parametrize(
    ("rewrite", "reason"),
    [
        (
            "The river Eltis, 718 km long, flows into the Grey Sea. In 1931 Margit Steen measured it; the Board of Rivers "
            "paid 1,200 crowns. It carries barges of grain.",
            None,
        ),
        ("The Eltis is long and ends in the sea. " * 6, Reason.rewrite_loops),
        ("The Eltis is 718 km long.", Reason.rewrite_length),
        (" ".join(f"word{n}" for n in range(120)), Reason.rewrite_length),
        (
            "The river is very long and ends in a sea. Somebody once measured how long it is for an office of the state, "
            "which paid something for that. There is grain on barges.",
            Reason.rewrite_loses_names,
        ),
        (
            "\u0440\u0435\u043a\u0430 718 \u043a\u043c \u0432 \u0434\u043b\u0438\u043d\u0443 " * 4,
            Reason.rewrite_in_other_script,
        ),
    ],
)
def test_a_degenerate_rewrite_has_its_reason(rewrite: str, reason: Reason | None) -> None:
    assert rewrite_problem(rewrite, PASSAGE) is reason


def test_a_short_passage_says_little_about_length() -> None:
    assert rewrite_problem("It has a cathedral.", "Novmere has a cathedral.") is not Reason.rewrite_length


def test_the_summary_gives_each_reason_and_says_whether_it_was_kept() -> None:
    tally = {"pairs": 1200, "rewrites": 3, "repeated": 2, "rewrite_loops": 1, "copied_example": 0}
    assert describe_tally(tally, dropped=True) == (
        "augmentation: 1,200 pairs and 3 rewrites written, 3 rejected: repeated 2, rewrite loops 1"
    )
    assert "3 found wanting, and kept (augmentation.checks=count)" in describe_tally(tally, dropped=False)
    assert describe_tally({"pairs": 2, "echo_questions": 1}, dropped=True).endswith(
        "0 rejected; 1 asked by their sentence"
    )
