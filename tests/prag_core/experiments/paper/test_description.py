"""The tables in conf/paper load and agree with each other; a description that does not fit together is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from prag_core.answering.registry import METHODS
from prag_core.config.load import CONF
from prag_core.errors import ConfigError
from prag_core.experiments.paper.description import load_paper_table, load_setup, table_names
from prag_core.questions.formats import PUBLISHED

SETUP = load_setup()
MAIN = load_paper_table("main", SETUP)
GOOD: dict[str, Any] = {
    "columns": {"2wiki": ["Compare", "Total"], "popqa": ["Total"]},
    "rows": [{"label": "A", "method": "rag"}, {"label": "B", "method": "prag", "measure": "seconds"}],
    "published": {"llama-3-8b": {"A": [0.1, 0.2, 0.3]}},
}


@pytest.mark.parametrize("name", table_names())
def test_every_table_loads_and_asks_for_methods_that_are_there(name: str) -> None:
    table = load_paper_table(name, SETUP)
    assert {row.method for row in table.rows} <= set(METHODS)
    assert set(table.published) <= set(SETUP.models) and set(table.datasets) <= set(SETUP.datasets) == set(
        PUBLISHED
    )


def test_the_main_table_is_whole_and_its_figures_are_shares() -> None:
    figures = [figure for rows in MAIN.published.values() for row in rows.values() for figure in row.values()]
    assert len(figures) == 3 * 6 * 10 and all(0 < figure < 1 for figure in figures)


def test_tables_agree_where_they_publish_the_same_figure() -> None:
    warmup, augmentation = load_paper_table("warmup", SETUP), load_paper_table("augmentation", SETUP)
    for model, rows in MAIN.published.items():
        totals = {column: figure for column, figure in rows["P-RAG"].items() if column[1] == "Total"}
        assert warmup.published[model]["P-RAG random"] == totals
        if model in augmentation.published:
            own = f"written by {SETUP.models[model].title}"
            assert augmentation.published[model][own] == totals


def test_rows_that_measure_the_same_answers_differently_are_answered_once() -> None:
    table = load_paper_table("time", SETUP)
    rows = {row.label: row for row in table.rows}
    assert table.answered_by(rows["merging and loading"]) is rows["P-RAG"]
    assert table.answered_by(rows["FLARE"]) is rows["FLARE"]


def test_the_files_of_the_package_include_the_tables() -> None:
    assert (CONF / "paper" / "setup.yaml").exists() and table_names() == [
        "augmentation",
        "main",
        "time",
        "warmup",
    ]


def test_a_table_of_ones_own_is_read(tmp_path: Path) -> None:
    table = write(tmp_path, GOOD)
    assert table.columns == (("2wiki", "Compare"), ("2wiki", "Total"), ("popqa", "Total"))
    assert [row.measure for row in table.rows] == ["f1", "seconds"]
    assert table.published["llama-3-8b"]["A"]["popqa", "Total"] == 0.3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"columns": {}}, "columns is {}; expected question sets"),
        ({"columns": {"squad": ["Total"]}}, "no question set 'squad'; known: 2wiki, hotpotqa, popqa, cwq"),
        ({"columns": {"popqa": ["Bridge"]}}, "columns, popqa: no type 'Bridge'; known: Total"),
        ({"rows": []}, "rows is .*expected a list"),
        ({"rows": [{"label": "A"}]}, "row 1: expected a mapping with label and method"),
        ({"rows": [{"label": "A", "method": "rag", "model": "x"}]}, "row 1: unknown field model"),
        ({"rows": [{"label": "A", "method": "rag"}] * 2}, "two rows are labelled A"),
        ({"measure": "em"}, "no measure 'em'; known: f1, seconds, loading_seconds"),
        ({"published": {"gpt": {}}}, "no model 'gpt'; known: llama-3.2-1b"),
        ({"published": {"llama-3-8b": {"C": [0.1]}}}, "llama-3-8b: no row 'C'; known: A, B"),
        ({"published": {"llama-3-8b": {"A": [0.1]}}}, "A has 1 figures, but there are 3 columns"),
        ({"caption": "x"}, "unknown field caption"),
    ],
)
def test_a_description_that_does_not_fit_together_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=rf"mine\.yaml.*{message}"):
        write(tmp_path, {**GOOD, **changes})


def test_an_unknown_table_names_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"no table 'tabel'; there are augmentation, main, time, warmup"):
        load_paper_table("tabel", SETUP)


def write(folder: Path, fields: dict[str, Any]) -> Any:
    (folder / "mine.yaml").write_text(yaml.safe_dump(fields))
    return load_paper_table(str(folder / "mine.yaml"), SETUP)
