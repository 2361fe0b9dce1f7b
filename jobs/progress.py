"""Progress of a run: a live bar on a screen; in a log a line a minute, and one a shard, a method or a tenth of a stage."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
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

from jobs.pace import Pace
from prag_core.terminal.console import open_console
from prag_core.terminal.streams import stderr

Row = dict[str, Any]
Tick = Callable[[str, int, int], None]  # (name, done, total)
LOG_EVERY = 10  # lines of a log for a stage


def show_progress(
    rows: Iterable[Row],
    num_shards: int,
    num_documents: int,
    read: Callable[[], Mapping[str, int]],
    console: Console,
) -> Iterator[Row]:
    """Pass shard rows through, showing what became of each; and between them documents written and trained, the rate and the
    time left. `read` returns the documents that each stage is done with; a thread calls it every second."""
    start, documents = time.monotonic(), 0
    columns = (TextColumn("shards"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"))
    pace = Pace(num_documents)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("shards", total=num_shards, note="loading models")

        def look() -> None:
            done, now = read(), time.monotonic()
            if console.is_terminal:
                bar.update(task, note=pace.note(done, now) or "loading models")
            elif line := pace.line(done, now):
                console.print(line)

        with _repeated(look):
            for number, row in enumerate(rows, 1):
                documents += row["num_documents"]
                rate = documents / max(time.monotonic() - start, 1e-9)
                bar.update(task, completed=number)
                if row["error"] or not console.is_terminal:
                    note = f"{documents}/{num_documents} documents, {rate:.2f}/s"
                    console.print(f"{describe_shard(row, f'shard {number}/{num_shards}')}; {note}")
                yield row
        look()  # what a terminal shows last is the end


@contextmanager
def _repeated(look: Callable[[], None]) -> Iterator[None]:
    """Call `look` every second, in a thread, while the context lasts."""
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(1.0):
            look()

    thread = threading.Thread(target=repeat, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


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
