"""The figures of a training, as a reader gets them."""

from __future__ import annotations

import json

from prag_core.evaluation.costs import Summary
from prag_core.experiments.router_training.fit import Candidate
from prag_core.experiments.router_training.report import RouterReport, text_tables


def row(name: str, f1: float, retrievals: float, tokens: float, ms: float) -> Summary:
    return Summary(name=name, em=f1, f1=f1, f1_ci=(f1, f1), retrievals=retrievals, tokens=tokens, ms=ms)


REPORT = RouterReport(
    strategies=("closed_book", "rag", "ircot"),
    num_questions=50,
    num_training=30,
    candidates=(
        Candidate(False, 1.0, 0.7, 0.5),
        Candidate(False, 3.0, 0.6, 0.6),
        Candidate(True, 1.0, 0.8, 0.4),
    ),
    retrieves=True,
    right=[10, 20, 5],
    presumed=[0, 4, 6],
    commonest=0.5,
    confusion=[[3, 1, 0], [0, 8, 0], [0, 1, 2]],
    rows=[
        row("closed_book", 0.2, 0, 5, 10),
        row("rag", 0.6, 1, 5, 40),
        row("ircot", 0.5, 3, 50, 200),
        row("the router", 0.65, 1.5, 20, 80),
        row("labels", 0.8, 1.4, 20, 80),
    ],
)


def test_accuracy_is_the_diagonals_share() -> None:
    assert (REPORT.num_held_out, REPORT.accuracy) == (15, 13 / 15)


def test_it_says_what_is_saved_against_the_best_and_the_dearest_strategy() -> None:
    note = list(text_tables(REPORT))[-1].note
    assert (
        "always rag (best) the router saves -300.0 % of the tokens, -50.0 % of the retrievals, -100.0 % of the ms"
        in note
    )
    assert (
        "always ircot (dearest) the router saves 60.0 % of the tokens, 50.0 % of the retrievals, 60.0 % of the ms"
        in note
    )
    assert "+5.0 points" in note and "+15.0 points" in note


def test_labels_left_out_are_counted_and_the_features_taken_are_marked() -> None:
    labels, candidates, *_ = text_tables(REPORT)
    assert (
        labels.rows == (("closed_book", "10", "0"), ("rag", "20", "4"), ("ircot", "5", "6"))
        and "5 that none" in labels.note
    )
    assert [cells[0] for cells in candidates.rows][1:] == [
        "the question",
        "the question and what it retrieves (taken)",
    ]
    assert candidates.rows[1][1:] == ("1", "70.0", "0.500")  # the best of its features


def test_it_is_stored_as_plain_json() -> None:
    stored = json.loads(json.dumps(REPORT.to_json()))
    assert stored["accuracy"] == 13 / 15 and stored["rows"][3]["tokens"] == 20
