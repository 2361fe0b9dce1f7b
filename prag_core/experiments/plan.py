"""A planned table: for each run the bank that it needs and the identity of its answers, before anything is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from prag_core.errors import ConfigError, PragError
from prag_core.experiments.answers import answering_fields, question_digest
from prag_core.experiments.banks import BankNames, NamedBank
from prag_core.experiments.table import Run, Table
from prag_core.identity import digest
from prag_core.questions.reader import load_questions
from prag_core.records import Question


@dataclass(frozen=True)
class PlannedRun:
    """A run, the bank that it needs, and everything else that its answers depend on."""

    run: Run
    bank: NamedBank
    fields: Mapping[str, Any]
    questions: tuple[Question, ...]

    @property
    def identity(self) -> str:
        return digest([self.bank.uri, dict(self.fields)])


@dataclass(frozen=True)
class PlannedTable:
    """A table with its questions; `runs` are in the table's order."""

    table: Table
    questions: tuple[Question, ...]
    runs: tuple[PlannedRun, ...]

    @cached_property
    def banks(self) -> tuple[NamedBank, ...]:
        """Each bank once, in the order of the runs that need it first."""
        return tuple({planned.bank.uri: planned.bank for planned in self.runs}.values())


def plan_table(table: Table, names: BankNames) -> PlannedTable:
    """Name the banks and answers of a table. Raises ConfigError if two rows are the same thing under two labels, and what naming
    a row's bank raises, with the run's name."""
    asked = table.config.evaluate
    questions = tuple(load_questions(asked.questions, asked.limit, type=asked.type, format=asked.format))
    asked_digest = question_digest(questions)
    runs, first = [], dict[str, str]()
    for run in table.runs:
        try:
            bank = names.name(run.config)
        except PragError as error:
            raise type(error)(f"{table.name}, {run.name}: {error}") from None
        planned = PlannedRun(run, bank, answering_fields(run.config, run.method, asked_digest), questions)
        if (other := first.setdefault(planned.identity, run.name)) != run.name:
            raise ConfigError(
                f"{table.name}: {run.name} is the same as {other}: what its row sets changes nothing that matters"
            )
        runs.append(planned)
    return PlannedTable(table, questions, tuple(runs))
