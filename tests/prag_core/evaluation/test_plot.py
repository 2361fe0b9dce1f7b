import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace

from prag_core.evaluation.plot import draw, render
from prag_core.evaluation.report import Report

Make = Callable[..., Report]


def test_a_panel_for_all_questions_and_one_for_each_kind(make_report: Make) -> None:
    titles = [axis.get_title(loc="left") for axis in draw(make_report()).get_axes()]
    assert titles == [
        "all questions (4)",
        "single (2)",
        "bridge (1)",
        "comparison (1)",
        "asked (1)",
        "unasked (1)",
    ]


def test_bars_are_as_long_as_their_f1_and_say_it_and_lines_span_the_interval(make_report: Make) -> None:
    report = make_report()
    axis = draw(report).get_axes()[0]
    results = list(report.methods.values())
    assert [bar.get_width() for bar in axis.patches] == [100 * result.f1 for result in results]
    assert [label.get_text() for label in axis.texts] == [f"{100 * result.f1:.1f}" for result in results]
    spans = [tuple(line.get_xdata()) for line in axis.lines]
    assert spans == [(100 * result.f1_ci[0], 100 * result.f1_ci[1]) for result in results]
    assert [label.get_text() for label in axis.get_yticklabels()] == list(report.methods)


def test_one_kind_of_question_needs_no_small_panels(make_report: Make) -> None:
    report = make_report()
    one_kind = {
        name: replace(result, by_type={"": result.by_type["single"]}, by_asked={})
        for name, result in report.methods.items()
    }
    assert len(draw(replace(report, methods=one_kind)).get_axes()) == 1


def test_pictures_are_whole_and_equal_reports_give_equal_svg(make_report: Make) -> None:
    report = make_report()
    assert render(report, "png").startswith(b"\x89PNG")
    picture = render(report, "svg")
    assert ElementTree.fromstring(picture).tag.endswith("svg")
    assert render(report, "svg") == picture
