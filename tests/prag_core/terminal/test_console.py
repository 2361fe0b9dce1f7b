"""Data is printed letter for letter, whatever it is and however narrow the terminal."""

from __future__ import annotations

import ast
import io
from pathlib import Path

import pytest
from rich.console import Console

from prag_core.terminal.console import make_table, open_console

ROOT = Path(__file__).resolve().parents[3]
ODD = [
    "[/r/]python",
    "arXiv:2301.1[cs.CL]",
    "[red]Bo[/red]",
    ":smile:",
    "[link=x]y[/link]",
    "a\\[b]",
    "[",
    "1,234",
]


def printed(console: Console) -> str:
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("odd", ODD)
def test_text_cells_heads_and_titles_appear_letter_for_letter(odd: str) -> None:
    console = open_console(io.StringIO())
    console.print(odd)
    assert printed(console) == f"{odd}\n"
    table = make_table(odd, "other", title=odd)
    table.add_row(odd, "x")
    console.print(table)
    assert printed(console).count(odd) == 4


def test_a_cell_that_is_wider_than_the_terminal_is_shown_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    console, long = open_console(io.StringIO()), "".join(chr(97 + i % 26) for i in range(70))
    table = make_table("id", "why")
    table.add_row(long, "x")
    console.print(table)
    lines = [line.split("│")[1].strip() for line in printed(console).splitlines() if line.startswith("│")]
    assert "".join(lines) == long and len(lines) > 1


def test_where_there_is_no_terminal_a_cell_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    console, long = open_console(io.StringIO()), "word " * 100
    table = make_table("why")
    table.add_row(long.strip())
    console.print(table)
    assert long.strip() in printed(console)


def calls(path: Path) -> set[str]:
    """Plain names that a file calls: `print` only where no stream is given, `Table` only where it is rich's."""
    source = path.read_text()
    return {
        node.func.id
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        if node.func.id != "print" or not any(keyword.arg == "file" for keyword in node.keywords)
        if node.func.id != "Table" or "from rich.table import" in source
    }


def test_nothing_else_makes_consoles_tables_or_parsers_or_prints() -> None:
    """Else data could be read as markup, or what is meant for the user end in the log."""
    paths = [p for layer in ("prag_core", "jobs", "cluster") for p in (ROOT / layer).rglob("*.py")]
    wrong = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in paths
        if "prag_core/terminal" not in path.as_posix()
        for name in calls(path) & {"print", "Console", "Table", "ArgumentParser"}
    }
    assert not wrong
