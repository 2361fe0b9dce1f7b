"""Output of a report: tables for the terminal, and files in a folder or object store that other tools read.

    OUT/report.json          everything except single answers; written last, so that the files it refers to exist
    OUT/report.md, f1.png, f1.svg
    OUT/predictions.jsonl    one line for each answer, with what was retrieved and merged, and its scores

Each file is replaced whole. Numbers that could not be computed are null, never NaN.
"""

from __future__ import annotations

import json

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from prag_core.evaluation.plot import render
from prag_core.evaluation.report import Report
from prag_core.evaluation.tables import TextTable, text_tables, to_markdown
from prag_core.storage import open_root, put_whole, storage_errors
from prag_core.terminal.console import make_table


def show_report(report: Report, console: Console) -> None:
    """Print every table of the report."""
    for table in text_tables(report):
        show_table(table, console)


def show_table(table: TextTable, console: Console) -> None:
    """Print a table with its title and its note."""
    console.print(Text(f"\n{table.title}", style="bold"))
    console.print(_rich_table(table), end="")
    if table.note:
        console.print(Text(table.note, style="dim"))


def write_report(report: Report, out: str) -> list[str]:
    """Write the files into `out` (a folder or URI, created if missing) and return their locations. Raises StorageError."""
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


def _rich_table(table: TextTable) -> Table:
    first, *others = table.header
    columns = (Column(first, no_wrap=True), *(Column(name, justify="right") for name in others))
    shown = make_table(*columns, box=SIMPLE_HEAD)
    for row in table.rows:
        shown.add_row(*row)
    return shown


def _json(value: object, indent: int | None = None) -> str:
    return json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
