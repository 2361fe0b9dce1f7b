"""The folder of a table's banks and answers: each is made once, and later runs and tables take it from there.

    OUT/banks/<identity>          a bank, named by what is in it
    OUT/answers/<identity>.json   a run's answers

Each bank is looked up once, and again after `forget`; each run's answers are kept as soon as they are complete.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from prag_core.answering.tools import OpenBank
from prag_core.config.dump import as_dict
from prag_core.config.schema import Config
from prag_core.errors import BankError
from prag_core.evaluation.report import Origin, Report
from prag_core.experiments.answering import OpenRun, Progress, answer_runs
from prag_core.experiments.answers import AnswerStore
from prag_core.experiments.banks import BankNames, MadeBank, NamedBank, find_made, with_source
from prag_core.experiments.plan import PlannedRun, PlannedTable, plan_table
from prag_core.experiments.report import RunResult, report_table
from prag_core.experiments.table import Table
from prag_core.identity import digest
from prag_core.records import Answer
from prag_core.retrieval import build_index


class Workspace:
    """Banks and answers under one folder or URI."""

    def __init__(self, out: str) -> None:
        self.out = out.rstrip("/")
        self._names = BankNames(f"{self.out}/banks")
        self._answers = AnswerStore(f"{self.out}/answers")
        self._banks: dict[str, MadeBank | None] = {}

    def plan(self, table: Table) -> PlannedTable:
        """Name the banks and answers of a table. Raises what `plan_table` does."""
        return plan_table(table, self._names)

    def find_bank(self, uri: str) -> MadeBank | None:
        """Return the bank if it is there and complete."""
        if uri not in self._banks:
            self._banks[uri] = find_made(uri)
        return self._banks[uri]

    def forget(self, uri: str) -> None:
        """Look a bank up again at the next use, because it was written to."""
        self._banks.pop(uri, None)

    def missing_banks(self, tables: Sequence[PlannedTable], *, retry_failed: bool) -> list[NamedBank]:
        """List each bank that is not there or not complete, once; with `retry_failed` also those with quarantined documents."""
        banks = {bank.uri: bank for table in tables for bank in table.banks}

        def is_done(uri: str) -> bool:
            made = self.find_bank(uri)
            return made is not None and not (retry_failed and made.snapshot.counts["failed"])

        return [bank for uri, bank in banks.items() if not is_done(uri)]

    def config_to_make(self, bank: NamedBank, known: Iterable[NamedBank]) -> Config:
        """Return the settings to make a bank with: from the augmentations of a known bank, if one has the same."""
        return with_source(bank, known, lambda uri: self.find_bank(uri) is not None)

    def find_answers(self, planned: PlannedRun) -> list[Answer] | None:
        """Return a run's answers, if its bank is there and they were given before."""
        made = self.find_bank(planned.bank.uri)
        return self._answers.find(made.snapshot, planned.fields) if made else None

    def answer(self, runs: Sequence[PlannedRun], progress: Progress = lambda *_: None) -> None:
        """Answer runs, equal ones once, and keep their answers. Raises BankError if a bank is not made, and what engines and
        banks raise."""
        banks: dict[str, OpenBank] = {}
        for planned in runs:
            if (view := _view(planned)) not in banks:
                banks[view] = self.open(planned)
        by_identity = {planned.identity: planned for planned in runs}
        opened = [
            OpenRun(identity, planned.run, banks[_view(planned)], planned.questions)
            for identity, planned in by_identity.items()
        ]

        def keep(identity: str, answers: list[Answer]) -> None:
            planned = by_identity[identity]
            self._answers.put(banks[_view(planned)].snapshot, planned.fields, answers)

        answer_runs(opened, keep, progress)

    def open(self, planned: PlannedRun) -> OpenBank:
        """Open a run's bank, with its retrieval index, which is built if need be."""
        made, config = self.find_bank(planned.bank.uri), planned.bank.config
        if made is None:
            raise BankError(
                f"{planned.bank.uri}: the bank of {planned.run.name} is not there, or its last run did not end well"
            )
        build_index(made.bank, made.snapshot, config.retrieval)
        return OpenBank.open(made.bank.uri, config)

    def report(self, planned: PlannedTable) -> Report:
        """Score a table whose runs all have answers. Raises BankError if one has none."""
        results = [self._result(planned.table, one) for one in planned.runs]
        return report_table(planned.table, planned.questions, results, lambda: self.open(planned.runs[0]))

    def _result(self, table: Table, planned: PlannedRun) -> RunResult:
        made, answers = self.find_bank(planned.bank.uri), self.find_answers(planned)
        if made is None or answers is None:
            raise BankError(f"{table.name}: {planned.run.name} has no answers")
        return RunResult(planned.run, made.snapshot, answers, _origin(planned, made, answers))


def _view(planned: PlannedRun) -> str:
    """Identify a bank as a run sees it: with which index and which seed."""
    config = planned.bank.config
    return digest([planned.bank.uri, as_dict(replace(config.retrieval, top_k=1)), config.evaluate.seed])


def _origin(planned: PlannedRun, made: MadeBank, answers: Iterable[Answer]) -> Origin:
    row, counts = planned.run.row, made.snapshot.counts
    uses_adapters = any(answer.adapters for answer in answers)
    return Origin(
        row=row.name,
        settings=dict(row.settings),
        cot=bool(made.bank.recipe.fields["prompt"]["cot"]),
        bank=made.bank.uri,
        snapshot=made.snapshot.name,
        adapters=counts["adapter"],
        quarantined=counts["failed"],
        seconds_per_document=made.figures.seconds_per_document if uses_adapters else None,
    )
