"""Where a report goes: the terminal, and a folder (or object store) that other tools read.

    OUT/report.json          everything but the single answers; written last, so that it never speaks of files not there
    OUT/report.md, f1.png, f1.svg
    OUT/predictions.jsonl    one line for each answer: what was said, retrieved, merged, and how it scored

Each file is replaced whole. Numbers that could not be computed are null, never NaN.
"""

from __future__ import annotations

import json

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from prag_core.evaluation.plot import render
from prag_core.evaluation.report import Report
from prag_core.evaluation.tables import Grid, grids, to_markdown
from prag_core.storage import open_root, put_whole, storage_errors


def show_report(report: Report, console: Console) -> None:
    """Every table of the report, in the terminal."""
    for grid in grids(report):
        show_grid(grid, console)


def show_grid(grid: Grid, console: Console) -> None:
    """A table with its title, and what is to be said about it."""
    console.print(f"\n[bold]{grid.title}[/bold]", _rich_table(grid), sep="\n", end="")
    if grid.note:
        console.print(grid.note, style="dim")


def write_report(report: Report, out: str) -> list[str]:
    """Write the files into `out` (a folder or URI, made if need be) and return where they are. Raises StorageError."""
    contents = {
        "predictions.jsonl": "".join(
            f"{_json(prediction.to_json())}\n" for prediction in report.predictions
        ).encode(),
        "f1.png": render(report, "png"),
        "f1.svg": render(report, "svg"),
        "report.md": to_markdown(report, plot="f1.png").encode(),
        "report.json": (_json(report.to_json(), indent=1) + "\n").encode(),
    }
    fs, root = open_root(out)
    with storage_errors("writing the report to", out):
        for name, data in contents.items():
            put_whole(fs, f"{root}/{name}", data)
    return [f"{out.rstrip('/')}/{name}" for name in reversed(contents)]


def _rich_table(grid: Grid) -> Table:
    table = Table(*grid.header, box=SIMPLE_HEAD)
    table.columns[0].no_wrap = True
    for column in table.columns[1:]:
        column.justify = "right"
    for row in grid.rows:
        table.add_row(*row)
    return table


def _json(value: object, indent: int | None = None) -> str:
    return json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
