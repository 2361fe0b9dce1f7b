"""Consoles and tables that print data letter for letter: brackets and colons in it are never read as markup or emoji."""

from __future__ import annotations

import os
from typing import Any, TextIO

from rich.console import Console
from rich.table import Column, Table

from prag_core.terminal.streams import stdout

UNBOUNDED = 10_000  # columns of a console that is no terminal


def open_console(file: TextIO | None = None) -> Console:
    """Make a console on a stream, by default the user's standard output. It is as wide as the terminal; where there is none, as
    wide as a table needs."""
    console = Console(file=file or stdout(), markup=False, emoji=False, highlight=False, soft_wrap=True)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = UNBOUNDED
    return console


def make_table(*columns: str | Column, **options: Any) -> Table:
    """Make a table that shows every cell whole: what is wider than its column goes on in the next line."""
    table = Table(*columns, **options)
    for column in table.columns:
        column.overflow = "fold"
    return table
