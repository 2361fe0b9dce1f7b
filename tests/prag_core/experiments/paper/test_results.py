"""Measured figures stand beside published ones, in the paper's rows and columns."""

from __future__ import annotations

from typing import Any

from prag_core.evaluation.report import MethodResult
from prag_core.experiments.paper.description import load_paper_table, load_setup
from prag_core.experiments.paper.results import Result, measure, result_tables, to_json

SETUP = load_setup()
TABLE = load_paper_table("time", SETUP)
ROWS = {row.label: row for row in TABLE.rows}


def result(**changes: Any) -> MethodResult:
    fields: dict[str, Any] = {
        "em": 0.1,
        "f1": 0.25,
        "precision": 0.3,
        "recall": 0.2,
        "em_ci": (0, 0.2),
        "f1_ci": (0.2, 0.3),
        "by_type": {},
        "by_asked": {},
        "timings_ms": {"retrieve": 40.0, "fetch": 100.0, "merge": 200.0, "generate": 2000.0},
        "ms_per_question": 2340.0,
        "num_questions": 300,
        "num_degraded": 7,
    }
    return MethodResult(**fields | changes)


def test_seconds_leave_out_what_merging_and_loading_take_which_is_a_row_of_its_own() -> None:
    assert measure(ROWS["P-RAG"], result(), 2.34) == Result(2.04, 300, 7, None, 2.34)
    assert measure(ROWS["merging and loading"], result(), 0.32) == Result(0.3, 300, 7, None, 0.32)


def test_f1_has_its_interval() -> None:
    row = load_paper_table("main", SETUP).rows[0]
    assert measure(row, result(), None) == Result(0.25, 300, 7, (0.2, 0.3), None)


def test_a_grid_has_the_published_figure_behind_the_measured_one_and_a_dash_for_what_is_missing() -> None:
    table, wiki, hotpot = load_paper_table("main", SETUP), ("2wiki", "Total"), ("hotpotqa", "Bridge")
    figures = {
        ("llama-3.2-1b", "P-RAG", wiki): Result(0.2812, 300, 7, (0.2, 0.3), 0.2764),
        ("llama-3.2-1b", "FLARE", hotpot): Result(0.1, 12, 0, None, None),
    }
    first, second = result_tables(table, SETUP, {"llama-3.2-1b": "other/model", "llama-3-8b": "x"}, figures)
    assert first.title.startswith("2WikiMultihopQA: Table 1") and first.header == (
        "LLaMA-3.2-1B",
        "Total (300)",
    )
    assert ("P-RAG", "28.1 (27.6)") in first.rows and ("FLARE", "–") in first.rows
    assert first.note.startswith("Measured with other/model.") and first.note.endswith(
        "shown as text: P-RAG 7."
    )
    assert "shown as text" not in second.note
    assert second.header == ("LLaMA-3.2-1B", "Bridge (12)") and ("FLARE", "10.0 (–)") in second.rows
    assert to_json(table, figures)["cells"][0] == {
        "model": "llama-3.2-1b",
        "dataset": "2wiki",
        "type": "Total",
        "row": "P-RAG",
        "measured": 0.2812,
        "interval": (0.2, 0.3),
        "num_questions": 300,
        "num_degraded": 7,
        "published": 0.2764,
    }
