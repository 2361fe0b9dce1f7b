"""Progress of a run in the terminal: a live bar on a screen, a line a shard, a method or a tenth of a stage in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from prag_core.terminal.console import open_console
from prag_core.terminal.streams import stderr

Row = dict[str, Any]
Tick = Callable[[str, int, int], None]  # (name, done, total)
LOG_EVERY = 10  # lines of a log for a stage


def show_progress(
    rows: Iterable[Row], num_shards: int, num_documents: int, console: Console
) -> Iterator[Row]:
    """Pass shard rows through, showing shards, documents, documents a second and the time left."""
    start, documents = time.monotonic(), 0
    columns = (
        TextColumn("shards"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("shards", total=num_shards, note="loading models")
        for number, row in enumerate(rows, 1):
            documents += row["num_documents"]
            rate = documents / max(time.monotonic() - start, 1e-9)
            note = f"{documents}/{num_documents} documents, {rate:.1f}/s"
            bar.update(task, completed=number, note=note)
            if row["error"] or not console.is_terminal:
                line = f"{describe_shard(row, f'shard {number}/{num_shards}')}; {note}"
                console.print(line)
            yield row


def ticking() -> AbstractContextManager[Tick]:
    """Report how many questions each method has answered: a bar a method on a screen, a line for each that ends in a log."""

    def line(method: str, done: int, total: int) -> str | None:
        return f"{method}: {done} questions answered" if done == total else None

    return _bars(open_console(stderr()), TextColumn("questions"), line)


def stage_progress(console: Console) -> AbstractContextManager[Tick]:
    """Report how far each stage is: a bar a stage on a screen, a line for every tenth of it in a log."""

    def line(stage: str, done: int, total: int) -> str | None:
        is_told = done == total or done % max(1, total // LOG_EVERY) == 0
        return f"{stage}: {done:,} of {total:,}" if is_told else None

    return _bars(console, TimeRemainingColumn(), line)


@contextmanager
def _bars(
    console: Console, last: ProgressColumn, line: Callable[[str, int, int], str | None]
) -> Iterator[Tick]:
    """Show a bar for each name that is counted; without a terminal, print the lines that `line` returns."""
    columns = (TextColumn("{task.description:>24}", markup=False), BarColumn(), MofNCompleteColumn(), last)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        tasks: dict[str, TaskID] = {}

        def tick(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=total)
            bar.update(tasks[name], completed=done)
            if not console.is_terminal and (text := line(name, done, total)) is not None:
                console.print(text)

        yield tick


def describe_shard(row: Row, label: str) -> str:
    """Describe a shard in one line: what became of its documents, and how long each stage took."""
    if row["error"]:
        return f"{label} {row['shard_id']} FAILED while making {row['error_stage']}: {row['error'].splitlines()[-1]}"
    failed = row["augmentations_num_failed"] + row["adapters_num_failed"]
    quarantined = f", {failed} quarantined" if failed else ""
    seconds = f"augment {row['augmentations_seconds']:.1f} s, train {row['adapters_seconds']:.1f} s"
    return f"{label} {row['shard_id']}: {row['adapters_num_documents']} adapters{quarantined} ({seconds})"
