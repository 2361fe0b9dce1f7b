"""The report on a router: its labels, its accuracy, and its savings against always taking one strategy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from prag_core.evaluation.costs import HEADER, Summary
from prag_core.evaluation.tables import TextTable, percent
from prag_core.experiments.router_training.fit import Candidate


@dataclass(frozen=True)
class RouterReport:
    """The numbers of one training. `confusion[i][j]`: held-out questions labelled i and sent to j. The last two rows are the
    router's, and what always taking the labelled strategy would give. `right` and `presumed` count labels, of training and of
    held-out questions."""

    strategies: tuple[str, ...]
    num_questions: int
    num_training: int
    candidates: tuple[Candidate, ...]
    retrieves: bool
    right: list[int]
    presumed: list[int]
    commonest: float  # accuracy of always choosing the commonest label, over the training questions
    confusion: list[list[int]]
    rows: list[Summary]

    @property
    def num_held_out(self) -> int:
        return sum(map(sum, self.confusion))

    @property
    def accuracy(self) -> float:
        """Accuracy on the held-out questions."""
        return sum(self.confusion[i][i] for i in range(len(self.strategies))) / self.num_held_out

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"accuracy": self.accuracy, "num_held_out": self.num_held_out}


def text_tables(report: RouterReport) -> Iterator[TextTable]:
    """Yield the tables of a training, in reading order."""
    left_out = report.num_questions - sum(report.right) - sum(report.presumed)
    rows = tuple(
        (name, str(right), str(presumed))
        for name, right, presumed in zip(report.strategies, report.right, report.presumed, strict=True)
    )
    note = "Cheapest first. Presumed: no strategy was right, the question's type decides."
    note += (
        f" Left out: {left_out} that none answered and nothing says how many hops they take."
        if left_out
        else ""
    )
    yield TextTable(
        f"Labels of {report.num_questions} questions", ("strategy", "cheapest right", "presumed"), rows, note
    )
    yield _candidates(report)
    yield _confusion(report)
    yield _costs(report)


def _candidates(report: RouterReport) -> TextTable:
    """Tabulate the best candidate of each set of features."""
    rows = [("always the commonest label", "", percent(report.commonest), "")]
    for retrieves in sorted({candidate.retrieves for candidate in report.candidates}):
        best = min(
            (one for one in report.candidates if one.retrieves == retrieves), key=lambda one: one.log_loss
        )
        name = "the question and what it retrieves" if retrieves else "the question"
        name += " (taken)" if retrieves == report.retrieves else ""
        rows.append((name, f"{best.strength:g}", percent(best.accuracy), f"{best.log_loss:.3f}"))
    title = f"Cross-validation over the {report.num_training} training questions"
    return TextTable(title, ("features", "C", "accuracy", "log loss"), tuple(rows))


def _confusion(report: RouterReport) -> TextTable:
    rows = tuple(
        (name, *map(str, counts)) for name, counts in zip(report.strategies, report.confusion, strict=True)
    )
    title = (
        f"{report.num_held_out} held-out questions: {percent(report.accuracy)} % sent where their label says"
    )
    return TextTable(
        title, ("label", *report.strategies), rows, "Rows: the label. Columns: where the router sends it."
    )


def _costs(report: RouterReport) -> TextTable:
    rows = tuple((row.name, *row.cells()) for row in report.rows)
    fixed, router = report.rows[:-2], report.rows[-2]
    best, dearest = max(fixed, key=lambda row: row.f1), fixed[-1]
    against = {best.name: ("best", best), dearest.name: ("dearest", dearest)}
    if best is dearest:
        against = {best.name: ("best and dearest", best)}
    saved = [
        f"Against always {name} ({what}) the router saves {_savings(router, row)}."
        for name, (what, row) in against.items()
    ]
    note = " ".join(["Labels: every question by the strategy it is labelled with.", *saved])
    return TextTable(
        f"What each costs, {report.num_held_out} held-out questions", ("answered by", *HEADER), rows, note
    )


def _savings(router: Summary, fixed: Summary) -> str:
    """Describe the share saved of each cost, and the points of F1 gained or lost."""
    costs = {what: (getattr(router, what), getattr(fixed, what)) for what in ("tokens", "retrievals", "ms")}
    shares = [
        f"{percent(1 - ours / theirs)} % of the {what}"
        for what, (ours, theirs) in costs.items()
        if theirs > 0
    ]
    return f"{', '.join(shares)}, for {100 * (router.f1 - fixed.f1):+.1f} points of F1"
