"""Progress of a run in the terminal: a live bar on a screen, a line a shard or a method in a log."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from prag_core.evaluation.run import Tick

Row = dict[str, Any]


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
                console.print(line, highlight=False, markup=False, soft_wrap=True)
            yield row


@contextmanager
def ticking() -> Iterator[Tick]:
    """A function to tell how many questions a method has answered; a bar a method while the context lasts."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description:>24}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("questions"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        tasks: dict[str, TaskID] = {}

        def tick(method: str, done: int, total: int) -> None:
            if method not in tasks:
                tasks[method] = bar.add_task(method, total=total)
            bar.update(tasks[method], completed=done)
            if not console.is_terminal and done == total:
                console.print(f"{method}: {done} questions answered", highlight=False)

        yield tick


def describe_shard(row: Row, label: str) -> str:
    """One line on one shard: what became of its documents, and how long each stage took."""
    if row["error"]:
        return f"{label} {row['shard_id']} FAILED while making {row['error_stage']}: {row['error'].splitlines()[-1]}"
    failed = row["augmentations_num_failed"] + row["adapters_num_failed"]
    set_aside = f", {failed} quarantined" if failed else ""
    seconds = f"augment {row['augmentations_seconds']:.1f} s, train {row['adapters_seconds']:.1f} s"
    return f"{label} {row['shard_id']}: {row['adapters_num_documents']} adapters{set_aside} ({seconds})"
