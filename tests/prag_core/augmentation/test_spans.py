"""Candidate answers: found by rules, spread over sentences, each asked for by a word of its kind."""

from __future__ import annotations

from itertools import pairwise

import pytest

from prag_core.augmentation.spans import Kind, choose_spans, question_word

RULES = (
    "A hotel may cost up to 110 euros a night. Repairs take two working days. The agreement ends on 31 December 2026. "
    "Call the station on channel 8. Our contact at Oriel Journeys is Desmond Pryle. The hull is made of recycled fishing nets."
)


def texts(passage: str, count: int = 99) -> list[str]:
    return [span.text for span in choose_spans(passage, count)]


@pytest.mark.parametrize(
    "answer",
    [
        "110 euros",
        "two working days",
        "31 December 2026",
        "channel 8",
        "Oriel Journeys",
        "Desmond Pryle",
        "recycled fishing nets",
    ],
)
def test_amounts_dates_codes_names_and_phrases_are_found_whole(answer: str) -> None:
    assert answer in texts(RULES)


def test_the_first_spans_are_one_of_each_sentence() -> None:
    spans = choose_spans(RULES, 6)
    assert len({span.sentence for span in spans}) == 6
    assert texts(RULES, 3) == texts(RULES)[:3]


def test_a_span_stands_where_it_says_and_no_two_have_the_same_text() -> None:
    passage = "The crane lifts 40 tonnes. The old crane lifted 40 tonnes, too, in 1998."
    for span in choose_spans(passage, 99):
        assert span.sentence[span.start : span.end] == span.text and span.sentence in passage
    assert texts(passage).count("40 tonnes") == 1


def test_spans_of_a_sentence_do_not_overlap() -> None:
    for sentence in {span.sentence for span in choose_spans(RULES, 99)}:
        edges = sorted((s.start, s.end) for s in choose_spans(RULES, 99) if s.sentence == sentence)
        assert all(end <= start for (_, end), (start, _) in pairwise(edges))


def test_what_a_question_of_the_passage_says_is_no_answer_but_leads_the_next_sentence() -> None:
    (span,) = choose_spans("When does my money come? On the 25th.", 99)
    assert (span.text, span.lead, span.context) == (
        "25th",
        "When does my money come?",
        "When does my money come? On the 25th.",
    )


def test_a_sentence_with_nothing_else_to_ask_by_has_no_answers() -> None:
    assert texts("Leonor Quintas. 110 euros.") == []
    assert texts("") == []


@pytest.mark.parametrize(
    ("sentence", "answer", "word"),
    [
        ("The hall was built for 6 million euros.", "6 million euros", "how many euros"),
        ("The hall was built for $40 in all.", "$40", "how much"),
        ("The staff share is 4% of pay.", "4%", "how many percent"),
        ("The office closes at three on Thursdays.", "three", "what time"),
        ("The first buoy was sold in 2017 to a farm.", "2017", "which year"),
        ("The rules end on 29 February 2024 for all.", "29 February 2024", "which date"),
        ("The help desk is in room 114 upstairs.", "room 114", "which room"),
        ("The report was written by Maud Terrick.", "Maud Terrick", "who"),
        ("The plant was opened in Port Saltry.", "Port Saltry", "where"),
        ("Every loaf is wrapped in brown paper.", "brown paper", "what"),
    ],
)
def test_a_span_is_asked_for_by_its_kind(sentence: str, answer: str, word: str) -> None:
    assert [question_word(span) for span in choose_spans(sentence, 99) if span.text == answer] == [word]


def test_text_of_another_language_gives_its_numbers_and_names() -> None:
    spans = choose_spans("Die Anlage in Neu Ulm wurde 1987 gebaut und kostet 40 Millionen Euro.", 99)
    assert {span.kind for span in spans} >= {Kind.date, Kind.name}
    assert {"Neu Ulm", "1987"} <= {span.text for span in spans}
