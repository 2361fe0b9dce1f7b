"""The tables of a report as text, for the terminal (100 columns) and for Markdown.

Scores are shown as per cent, as papers do; the JSON keeps them between 0 and 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from prag_core.evaluation.report import Comparison, Group, Interval, MethodResult, Origin, Report

SIGNIFICANT = 0.05
Column = tuple[str, Callable[[MethodResult, Origin | None], str]]  # its head, and a run's cell


@dataclass(frozen=True)
class TextTable:
    """A table as text: the first column is left-aligned, the others right. `note` says how to read it."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def to_markdown(report: Report, plot: str | None = None) -> str:
    """Format the report as Markdown: its tables, the plot (a path relative to the file), and the versions that made it."""
    parts = [f"# {report.title or 'Evaluation'}"]
    if plot:
        parts.append(f"![F1 of each method with 95 % intervals]({plot})")
    for table in text_tables(report):
        parts.append(table_to_markdown(table))
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    parts.append(
        f"Made with {versions}. Settings: `config` in `report.json`; every answer: `predictions.jsonl`."
    )
    return "\n\n".join(parts) + "\n"


def table_to_markdown(table: TextTable) -> str:
    """Format a table as Markdown, with a heading and its note."""
    return "\n\n".join([f"## {table.title}", _markdown_table(table)] + ([table.note] if table.note else []))


def text_tables(report: Report) -> Iterator[TextTable]:
    """Yield the report's tables in reading order, except those that would be empty."""
    yield _scores(report)
    if any(len(result.by_type) > 1 or result.by_asked for result in report.methods.values()):
        yield _groups(report)
    if report.comparisons:
        yield _comparisons(report.comparisons)
    if report.retrieval:
        yield _retrieval(report.retrieval)


def _scores(report: Report) -> TextTable:
    """One line a run: scores, what a question costs, and with origins what a document's adapter cost."""
    columns = _columns(report)
    rows = tuple(
        (name, *(cell(result, report.origins.get(name)) for _, cell in columns))
        for name, result in report.methods.items()
    )
    top_k = report.config["retrieval"]["top_k"]
    count = f"{report.num_questions} questions"
    title = f"{report.title}: {count}" if report.title else f"{count}, top {top_k} passages"
    header = ("method", *(name for name, _ in columns))
    return TextTable(title, header, rows, " ".join(_notes(report)))


def _columns(report: Report) -> tuple[Column, ...]:
    """Choose the columns. Tables with origins have long names of runs, so precision and recall give way to what training took."""
    overlap: tuple[Column, ...] = (
        ("precision", lambda result, _: percent(result.precision)),
        ("recall", lambda result, _: percent(result.recall)),
    )
    return (
        ("EM", lambda result, _: percent(result.em)),
        ("F1", lambda result, _: percent(result.f1)),
        ("F1 95 %", lambda result, _: interval(result.f1_ci)),
        *(() if report.origins else overlap),
        ("retrievals", lambda result, _: f"{result.retrievals:.1f}"),
        ("tokens", lambda result, _: f"{result.tokens:.0f}"),
        ("ms", lambda result, _: f"{result.ms_per_question:,.0f}"),
        *((("s/document", _seconds),) if report.origins else ()),
    )


def _seconds(_: MethodResult, origin: Origin | None) -> str:
    seconds = origin.seconds_per_document if origin else None
    return "" if seconds is None else f"{seconds:.2g}"


def _notes(report: Report) -> Iterator[str]:
    """Say how to read the scores, and what is particular about some runs."""
    yield "Per cent. Intervals: bootstrap over questions. Retrievals, generated tokens and milliseconds are a question's."
    if degraded := _list((name, result.num_degraded) for name, result in report.methods.items()):
        yield f"Questions with a document that had no usable adapter and was shown as text: {degraded}."
    for name, result in report.methods.items():
        if result.routes:
            routes = ", ".join(f"{count} to {route}" for route, count in result.routes.items())
            yield f"{name} sent {routes}."
    if report.origins:
        yield "s/document: one worker's training, writing included."
    counts = {origin.row: origin.quarantined for origin in report.origins.values()}
    if quarantined := _list(counts.items()):
        yield f"Quarantined documents, without an adapter: {quarantined}."


def _list(counts: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts if count)


def _groups(report: Report) -> TextTable:
    """Tabulate F1 by question type, and by whether augmentation asked the fact."""
    first = next(iter(report.methods.values()))
    names = [*first.by_type, *first.by_asked]
    counts = {**first.by_type, **first.by_asked}
    header = ("F1", *(f"{name} ({counts[name].num_questions})" for name in names))
    rows = tuple(
        (method, *(_group(result, name) for name in names)) for method, result in report.methods.items()
    )
    note = (
        "Unasked: single-hop questions on facts that no generated pair of their document asked."
        if first.by_asked
        else ""
    )
    return TextTable("F1 by kind of question", header, rows, note)


def _group(result: MethodResult, name: str) -> str:
    group: Group = {**result.by_type, **result.by_asked}[name]
    return percent(group.f1)


def _comparisons(comparisons: Sequence[Comparison]) -> TextTable:
    header = ("F1 difference", "points", "95 %", "p", "p (Holm)")
    rows = tuple(
        (
            f"{c.method} - {c.baseline}",
            f"{100 * c.f1_difference:+.1f}",
            interval(c.ci),
            p_value(c.p),
            p_value(c.p_holm),
        )
        for c in comparisons
    )
    return TextTable(
        "Paired comparisons",
        header,
        rows,
        "Paired permutation tests over questions; Holm: corrected for their number.",
    )


def _retrieval(retrieval: dict[str, float]) -> TextTable:
    """Tabulate retrieval: a row for each measure, a column for each depth."""
    depths = sorted({int(name.split("@")[1]) for name in retrieval})
    measures = list(dict.fromkeys(name.split("@")[0] for name in retrieval))
    header = ("measure", *(f"@{depth}" for depth in depths))
    rows = tuple(
        (measure, *(f"{retrieval[f'{measure}@{depth}']:.3f}" for depth in depths)) for measure in measures
    )
    return TextTable("Retrieval against the gold documents", header, rows)


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


def interval(bounds: Interval) -> str:
    low, high = bounds
    return f"{100 * low:.1f} … {100 * high:.1f}"


def p_value(p: float) -> str:
    """Format a p value, with a star if it is below 0.05."""
    text = "<0.001" if p < 0.001 else f"{p:.3f}"
    return text + ("*" if p < SIGNIFICANT else " ")


def _markdown_table(table: TextTable) -> str:
    align = ("---", *("---:" for _ in table.header[1:]))
    lines = [
        " | ".join(cell.strip().replace("|", "\\|") for cell in row)
        for row in (table.header, align, *table.rows)
    ]
    return "\n".join(f"| {line} |" for line in lines)
