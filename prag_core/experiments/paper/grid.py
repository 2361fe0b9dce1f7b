"""Measured numbers beside published ones, as tables of text and as JSON.

Shares are shown in per cent, seconds as they are; a published figure stands in brackets behind the measured one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from prag_core.evaluation.report import MethodResult
from prag_core.evaluation.tables import Grid
from prag_core.experiments.paper.description import Cell, Model, PaperRow, PaperTable, Setup

LOADING = ("fetch", "merge")  # stages of a question that are about adapters, not about answering


@dataclass(frozen=True)
class Figure:
    """One cell: what was measured over how many questions, with its 95 % interval where it has one, and what was published.
    `num_degraded`: questions for which a document had no usable adapter and was shown as text."""

    measured: float
    num_questions: int
    num_degraded: int
    interval: tuple[float, float] | None
    published: float | None


Figures = Mapping[tuple[str, str, Cell], Figure]  # by model, row and column


def measure(row: PaperRow, result: MethodResult, published: float | None) -> Figure:
    """Measure a row over one column's questions."""
    if row.measure == "f1":
        return Figure(result.f1, result.num_questions, result.num_degraded, result.f1_ci, published)
    loading = sum(result.timings_ms.get(stage, 0.0) for stage in LOADING)
    milliseconds = loading if row.measure == "loading_seconds" else result.ms_per_question - loading
    return Figure(milliseconds / 1000, result.num_questions, result.num_degraded, None, published)


def paper_grids(
    table: PaperTable, setup: Setup, models: Mapping[str, str], figures: Figures
) -> Iterator[Grid]:
    """Yield a table of text for each model and question set, its rows and columns as the paper has them. `models`: each model's
    `model.path`, which may be another's than the paper's."""
    for model in models:
        for dataset in table.datasets:
            cells = [
                cell
                for cell in table.cells
                if cell[0] == dataset and any(key[::2] == (model, cell) for key in figures)
            ]
            if cells:
                grid = _grid(table, setup.models[model], setup.datasets[dataset].title, cells, figures)
                yield replace(grid, note=f"Measured with {models[model]}. {grid.note}")


def _grid(table: PaperTable, model: Model, title: str, cells: Sequence[Cell], figures: Figures) -> Grid:
    counts = {
        cell: next(f.num_questions for key, f in figures.items() if key[::2] == (model.name, cell))
        for cell in cells
    }
    header = (model.title, *(f"{cell[1]} ({counts[cell]})" for cell in cells))
    rows = tuple(
        (row.label, *(show(row, figures.get((model.name, row.label, cell))) for cell in cells))
        for row in table.rows
    )
    unit = "F1 in per cent" if table.rows[0].measure == "f1" else "Seconds a question"
    note = f"{unit}; (published); in a column's head, its questions."
    degraded = {row.label: _num_degraded(row, model, cells, figures) for row in table.rows}
    if any(degraded.values()):
        shown = ", ".join(f"{label} {count}" for label, count in degraded.items() if count)
        note += f" Answers with a document that had no usable adapter and was shown as text: {shown}."
    return Grid(f"{title}: {table.title}", header, rows, note)


def _num_degraded(row: PaperRow, model: Model, cells: Sequence[Cell], figures: Figures) -> int:
    found = (figures.get((model.name, row.label, cell)) for cell in cells)
    return sum(figure.num_degraded for figure in found if figure)


def show(row: PaperRow, figure: Figure | None) -> str:
    """Format as `24.9 (25.2)`; a dash for a missing number."""
    if figure is None:
        return "–"
    scale, digits = (100, 1) if row.measure == "f1" else (1, 2)
    published = "–" if figure.published is None else f"{scale * figure.published:.{digits}f}"
    return f"{scale * figure.measured:.{digits}f} ({published})"


def to_json(table: PaperTable, figures: Figures) -> dict[str, Any]:
    """List every cell with its model, question set, type and row; figures as they are, not in per cent."""
    cells = [
        {
            "model": model,
            "dataset": cell[0],
            "type": cell[1],
            "row": label,
            "measured": figure.measured,
            "interval": figure.interval,
            "num_questions": figure.num_questions,
            "num_degraded": figure.num_degraded,
            "published": figure.published,
        }
        for (model, label, cell), figure in figures.items()
    ]
    return {"table": table.name, "title": table.title, "cells": cells}
