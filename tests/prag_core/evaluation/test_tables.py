from collections.abc import Callable
from dataclasses import replace

import pytest

from prag_core.config.load import load_config
from prag_core.evaluation.report import Answered, Origin, Report, build_report
from prag_core.evaluation.tables import p_value, text_tables, to_markdown
from prag_core.records import Answer, Question

Make = Callable[..., Report]
PAIRS = [("closed_book", "rag"), ("prag", "rag"), ("closed_book", "prag")]


def test_every_method_has_a_row_of_its_figures_in_per_cent(make_report: Make) -> None:
    scores, groups, comparisons, retrieval = text_tables(make_report(pairs=PAIRS))
    assert [row[0] for row in scores.rows] == ["closed_book", "rag", "prag"]
    assert scores.rows[2][:3] == ("prag", "75.0", "75.0")
    assert groups.header == ("F1", "single (2)", "bridge (1)", "comparison (1)", "asked (1)", "unasked (1)")
    assert groups.rows[2] == ("prag", "100.0", "0.0", "100.0", "100.0", "100.0")
    assert comparisons.rows[1][:2] == ("prag - rag", "-16.7")
    assert ("recall", "0.250", "0.250") in retrieval.rows


def test_tables_with_nothing_to_say_are_left_out(make_report: Make) -> None:
    report = make_report(texts={"rag": ["a"] * 4})
    plain = replace(
        report, retrieval={}, methods={"rag": replace(report.methods["rag"], by_type={}, by_asked={})}
    )
    assert len(list(text_tables(plain))) == 1


def test_markdown_tables_are_rectangular(make_report: Make) -> None:
    report = make_report(pairs=PAIRS)
    report.methods["odd|name"] = report.methods.pop("prag")
    text = to_markdown(report, plot="f1.png")
    assert "](f1.png)" in text
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(blocks) == 4
    for block in blocks:
        assert len({line.replace("\\|", "").count("|") for line in block}) == 1
    assert "odd\\|name" in text


@pytest.mark.parametrize(
    ("p", "text"), [(0.0004, "<0.001*"), (0.049, "0.049*"), (0.05, "0.050 "), (1.0, "1.000 ")]
)
def test_small_p_values_are_starred(p: float, text: str) -> None:
    assert p_value(p) == text


def test_where_a_method_chose_strategies_their_questions_are_counted() -> None:
    questions = [Question(str(i), "Who?", ("Bo",)) for i in range(3)]
    answers = {
        "adaptive_rag": Answered([Answer("Bo.", route=route) for route in ("rag", "ircot", "rag")]),
        "rag": Answered([Answer("Bo.")] * 3),
    }
    report = build_report(questions, answers, load_config(["evaluate.num_resamples=100"]))
    assert (
        report.methods["adaptive_rag"].routes == {"rag": 2, "ircot": 1} and report.methods["rag"].routes == {}
    )
    assert "adaptive_rag sent 2 to rag, 1 to ircot." in next(iter(text_tables(report))).note


def test_a_table_of_several_configurations_has_its_title_what_training_took_and_what_was_quarantined(
    make_report: Make,
) -> None:
    trained = Origin(
        row="one",
        settings={},
        cot=False,
        bank="bank",
        snapshot="1-a",
        adapters=9,
        quarantined=2,
        seconds_per_document=0.123,
    )
    origins = {
        "closed_book": replace(trained, seconds_per_document=None),
        "rag": trained,
        "prag": replace(trained, row="two"),
    }
    report = make_report(title="Ranks", origins=origins)
    scores = next(text_tables(report))
    assert scores.title == "Ranks: 4 questions"
    assert scores.header == ("method", "EM", "F1", "F1 95 %", "retrievals", "tokens", "ms", "s/document")
    assert [row[-1] for row in scores.rows] == ["", "0.12", "0.12"]
    assert scores.note.endswith("without an adapter: one 2, two 2.")
    assert to_markdown(report).startswith("# Ranks\n")
