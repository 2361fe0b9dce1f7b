"""The report of a table: the answers of its runs, scored, with what its rows agree on.

Questions are split by whether an augmentation asked their fact, and retrieval is scored, only where that is the same for all
rows: a table whose rows differ in it has no one number for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from prag_core.answering.tools import OpenBank
from prag_core.bank import Snapshot
from prag_core.config.dump import as_dict
from prag_core.evaluation.asked import find_asked_in
from prag_core.evaluation.report import Answered, Origin, Report, build_report
from prag_core.experiments.table import Run, Table
from prag_core.records import Answer, Question

RANKING_DEPTH = 10


@dataclass(frozen=True)
class RunResult:
    """A run's answers and the snapshot that they are from. `origin`: what the report says of that, if it is to say it."""

    run: Run
    snapshot: Snapshot
    answers: Sequence[Answer]
    origin: Origin | None = None

    @property
    def cot(self) -> bool:
        """Whether the bank's prompt asks for reasoning before the answer."""
        return bool(self.snapshot.store.recipe.fields["prompt"]["cot"])


def report_table(
    table: Table,
    questions: Sequence[Question],
    results: Sequence[RunResult],
    open_first: Callable[[], OpenBank],
) -> Report:
    """Score a table whose runs all have answers. `open_first` opens the bank of the first run, to score what it retrieves."""
    snapshots = {(result.snapshot.store.uri, result.snapshot.name): result.snapshot for result in results}
    asked = _agreed(find_asked_in(snapshot, questions) for snapshot in snapshots.values())
    retrieved = None
    if _agreed(_retrieval(result.run) for result in results):
        depth = max(RANKING_DEPTH, table.config.retrieval.top_k)
        retrieved = open_first().search([question.question for question in questions], depth)
    return build_report(
        questions,
        {result.run.name: Answered(result.answers, result.cot, result.origin) for result in results},
        table.config,
        asked=asked,
        retrieved=retrieved,
        title=table.title,
        pairs=table.pairs,
    )


def _retrieval(run: Run) -> dict[str, Any]:
    """The settings that decide which documents are retrieved, except for how many."""
    config = run.config
    return {"corpus": as_dict(config.corpus), "retrieval": as_dict(replace(config.retrieval, top_k=1))}


def _agreed(values: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the value that all have, or None."""
    first, *others = values
    return first if all(other == first for other in others) else None
