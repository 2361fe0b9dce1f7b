"""The journal of a run: the oracle of a process, which writes down what it is told for the campaign to judge in the end.

Every line is written in one piece, so that a process that is killed loses none. Times are nanoseconds of the monotonic clock, the
same for all processes of a machine.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.simulation.oracle import Operation, Oracle, Violation

UNDERWAY = 1_000_000_000  # after its sender died, a request reaches the store within this time


class Journal(Oracle):
    """What one process has begun, done and seen."""

    def __init__(self, path: Path, name: str) -> None:
        super().__init__(exclusive=False)
        self.name = name
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._numbers_of: dict[Operation, int] = {}

    def write(self, event: str, *what: Any) -> None:
        os.write(self._file, (json.dumps([self.name, event, *what]) + "\n").encode())

    def add(self, operation: Operation) -> None:
        number = self._numbers_of[operation] = len(self._numbers_of)
        self.write("begin", number, operation.kind, list(operation.names), operation.begin)

    def end(self, operation: Operation, step: int) -> None:
        self.write("end", self._numbers_of[operation], step, operation.ok)

    def violate(self, promise: str, message: str) -> None:
        self.write("violate", promise, message)

    def check_opened(self, number: int, begin: int, end: int, who: str) -> None:
        self.write("opened", end, [number, begin, end, who])

    def check_deleted(self, seen: Collection[str], begin: int, end: float, where: str) -> None:
        self.write("seen", end, [sorted(seen), begin, end, where])


def judge(path: Path, oracle: Oracle, died: Mapping[str, int]) -> None:
    """Tell the oracle what the processes did, and have it check what they saw. `died`: when which of them was killed."""
    lines = list(read(path))
    _add_operations(oracle, lines, died)
    for _, event, *what in sorted(lines, key=lambda line: line[2] if line[1] in ("opened", "seen") else 0):
        if event == "violate":
            raise Violation(*what)
        if event == "opened":
            oracle.check_opened(*what[1])
        if event == "seen":
            oracle.check_deleted(*what[1])


def _add_operations(oracle: Oracle, lines: list[list[Any]], died: Mapping[str, int]) -> None:
    operations: dict[tuple[str, int], Operation] = {}
    for name, event, *what in lines:
        if event == "begin":
            number, kind, names, begin = what
            end = died[name] + UNDERWAY if name in died else None
            operations[name, number] = Operation(kind, tuple(names), begin, end)
        elif event == "end":
            operation = operations[name, what[0]]
            operation.end, operation.ok = what[1:]
    for operation in operations.values():
        oracle.add(operation)


def read(path: Path) -> Iterator[list[Any]]:
    """The lines of a journal: name, event, and what belongs to it."""
    for line in path.read_text().splitlines():
        yield json.loads(line)


def count_calls(path: Path) -> tuple[int, int]:
    """How many calls ended, and how many of them with an error."""
    ended = [line[-1] for line in read(path) if line[1] == "end"]
    return len(ended), ended.count(False)


def history(path: Path) -> Iterator[str]:
    """What happened, a line an event, for people."""
    notes = sorted((line[2:], line[0]) for line in read(path) if line[1] == "note")
    for (step, what, note), name in notes:
        yield f"{(step - notes[0][0][0]) / 1e9:8.3f}  {name:<16} {what}" + (f"  -- {note}" if note else "")
