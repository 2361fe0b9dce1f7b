"""Measured numbers beside published ones, as tables of text and as JSON.

Shares are shown in per cent, seconds as they are; a published result stands in brackets behind the measured one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from prag_core.evaluation.report import MethodResult
from prag_core.evaluation.tables import TextTable
from prag_core.experiments.paper.description import Column, Model, PaperRow, PaperTable, Setup

LOADING = ("fetch", "merge")  # stages of a question that are about adapters, not about answering


@dataclass(frozen=True)
class Result:
    """The result of a row in a column: what was measured over how many questions, its 95 % interval where it has one, and what
    was published. `num_degraded`: questions for which a document had no usable adapter and was shown as text."""

    measured: float
    num_questions: int
    num_degraded: int
    interval: tuple[float, float] | None
    published: float | None


Results = Mapping[tuple[str, str, Column], Result]  # by model, row and column


def measure(row: PaperRow, result: MethodResult, published: float | None) -> Result:
    """Measure a row over one column's questions."""
    if row.measure == "f1":
        return Result(result.f1, result.num_questions, result.num_degraded, result.f1_ci, published)
    loading = sum(result.timings_ms.get(stage, 0.0) for stage in LOADING)
    milliseconds = loading if row.measure == "loading_seconds" else result.ms_per_question - loading
    return Result(milliseconds / 1000, result.num_questions, result.num_degraded, None, published)


def result_tables(
    table: PaperTable, setup: Setup, models: Mapping[str, str], results: Results
) -> Iterator[TextTable]:
    """Yield a table of text for each model and question set, its rows and columns as the paper has them. `models`: each model's
    `model.path`, which may be another's than the paper's."""
    for model in models:
        for dataset in table.datasets:
            columns = [
                column
                for column in table.columns
                if column[0] == dataset and any(key[::2] == (model, column) for key in results)
            ]
            if columns:
                text = _text_table(
                    table, setup.models[model], setup.datasets[dataset].title, columns, results
                )
                yield replace(text, note=f"Measured with {models[model]}. {text.note}")


def _text_table(
    table: PaperTable, model: Model, title: str, columns: Sequence[Column], results: Results
) -> TextTable:
    counts = {
        column: next(f.num_questions for key, f in results.items() if key[::2] == (model.name, column))
        for column in columns
    }
    header = (model.title, *(f"{column[1]} ({counts[column]})" for column in columns))
    rows = tuple(
        (row.label, *(show(row, results.get((model.name, row.label, column))) for column in columns))
        for row in table.rows
    )
    unit = "F1 in per cent" if table.rows[0].measure == "f1" else "Seconds a question"
    note = f"{unit}; (published); in a column's head, its questions."
    degraded = {row.label: _num_degraded(row, model, columns, results) for row in table.rows}
    if any(degraded.values()):
        shown = ", ".join(f"{label} {count}" for label, count in degraded.items() if count)
        note += f" Answers with a document that had no usable adapter and was shown as text: {shown}."
    return TextTable(f"{title}: {table.title}", header, rows, note)


def _num_degraded(row: PaperRow, model: Model, columns: Sequence[Column], results: Results) -> int:
    found = (results.get((model.name, row.label, column)) for column in columns)
    return sum(result.num_degraded for result in found if result)


def show(row: PaperRow, result: Result | None) -> str:
    """Format as `24.9 (25.2)`; a dash for a missing number."""
    if result is None:
        return "–"
    scale, digits = (100, 1) if row.measure == "f1" else (1, 2)
    published = "–" if result.published is None else f"{scale * result.published:.{digits}f}"
    return f"{scale * result.measured:.{digits}f} ({published})"


def to_json(table: PaperTable, results: Results) -> dict[str, Any]:
    """List every cell with its model, question set, type and row; shares between 0 and 1."""
    cells = [
        {
            "model": model,
            "dataset": column[0],
            "type": column[1],
            "row": label,
            "measured": result.measured,
            "interval": result.interval,
            "num_questions": result.num_questions,
            "num_degraded": result.num_degraded,
            "published": result.published,
        }
        for (model, label, column), result in results.items()
    ]
    return {"table": table.name, "title": table.title, "cells": cells}
