"""`prag ablate`: tables of rows × methods. Banks and answers that earlier tables and runs have made are taken from there.

What a run promises: nothing is made before every row is checked; each bank and each run's answers are kept as soon as they are
whole, so that the same command goes on where it stopped, and one more row costs one row.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable

from jobs.make_bank import make_bank, resume_command
from jobs.ray_session import ray_session
from prag_core.config.command_line import settings_parser
from prag_core.config.schema import as_yaml
from prag_core.errors import ConfigError
from prag_core.evaluation.output import show_report, write_report
from prag_core.experiments.ablations.answers import AnswerStore
from prag_core.experiments.ablations.banks import BankNames, NamedBank, find_made, with_source
from prag_core.experiments.ablations.run import (
    PlannedRun,
    PlannedTable,
    answer_runs,
    find_answers,
    plan_table,
    report_table,
)
from prag_core.experiments.ablations.table import load_table

EXAMPLE = "prag ablate conf/ablations/training.yaml conf/ablations/serving.yaml --dry-run"


def main(argv: Sequence[str]) -> int:
    parser = settings_parser(
        "ablate",
        "Tables of what settings do: every row × method, made and answered once.",
        EXAMPLE,
        table="a YAML file that describes a table (prag_core/experiments/ablations/table.py says how); further ones may follow",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="only say what is there and what would be made"
    )
    parser.add_argument(
        "--retry-failed", action="store_true", help="try documents again that were quarantined"
    )
    options = parser.parse_intermixed_args(list(argv))
    files = [options.table, *(item for item in options.settings if "=" not in item)]
    settings = [item for item in options.settings if "=" in item]
    tables = [load_table(file, settings, options.config) for file in files]
    if options.print_config:
        print(as_yaml(tables[0].config), end="")
        return 0
    if repeated := {table.name for table in tables if [other.name for other in tables].count(table.name) > 1}:
        raise ConfigError(f"two tables are named {', '.join(repeated)}; a table is named after its file")
    out = tables[0].config.ablate.out.rstrip("/")
    store, names = AnswerStore(f"{out}/answers"), BankNames(f"{out}/banks")
    planned = [plan_table(table, names) for table in tables]
    command = resume_command("ablate", argv)
    console = Console(stderr=True)
    missing = banks_to_make(planned, retry_failed=options.retry_failed)
    for table in planned:
        show_plan(table, missing, store, Console() if options.dry_run else console)
    if options.dry_run:
        return 0
    if not make_banks(missing, planned, command, console, retry_failed=options.retry_failed):
        return 1
    answer_all_missing(planned, store, console)
    for table in planned:
        report = report_table(table, store)
        show_report(report, Console())
        for path in write_report(report, f"{out}/{table.table.name}"):
            print(path)
    return 0


def banks_to_make(planned: Sequence[PlannedTable], *, retry_failed: bool) -> list[NamedBank]:
    """Banks that are not there or not whole, each once; with `retry_failed` those with documents set aside, too."""
    banks = {bank.uri: bank for table in planned for bank in table.banks}
    made = {uri: find_made(uri) for uri in banks}

    def is_done(uri: str) -> bool:
        found = made[uri]
        return found is not None and not (retry_failed and found.snapshot.counts["failed"])

    return [bank for uri, bank in banks.items() if not is_done(uri)]


def show_plan(
    planned: PlannedTable, missing: Sequence[NamedBank], store: AnswerStore, console: Console
) -> None:
    """What is there and what is to be made, a line a row."""
    lacking = {bank.uri for bank in missing}
    rows: dict[str, list[tuple[PlannedRun, bool]]] = {}
    for run in planned.runs:
        answered = run.bank.uri not in lacking and find_answers(run, store) is not None
        rows.setdefault(run.run.row, []).append((run, answered))
    cached = sum(all(answered for _, answered in runs) for runs in rows.values())
    to_answer = sum(not answered for runs in rows.values() for _, answered in runs)
    making = sum(bank.uri in lacking for bank in planned.banks)
    console.print(
        f"[bold]{planned.table.title}[/bold]: {len(rows)} rows: {cached} cached, {len(rows) - cached} to run "
        f"({making} of {len(planned.banks)} banks to make, {to_answer} of {len(planned.runs)} runs to answer)",
        highlight=False,
        soft_wrap=True,
    )
    table = RichTable("row", "bank", "", "answered", "to answer", box=SIMPLE_HEAD)
    for column in table.columns[:3]:
        column.no_wrap = True
    for label, runs in rows.items():
        uri = runs[0][0].bank.uri
        methods = [
            ", ".join(run.run.method for run, answered in runs if answered is there)
            for there in (True, False)
        ]
        table.add_row(label, uri.rsplit("/", 1)[1][:8], "to make" if uri in lacking else "there", *methods)
    console.print(table)


def make_banks(
    missing: Sequence[NamedBank],
    planned: Sequence[PlannedTable],
    command: str,
    console: Console,
    *,
    retry_failed: bool,
) -> bool:
    """Make each bank in one Ray session; False where one could not be made whole."""
    if not missing:
        return True
    known = [bank for table in planned for bank in table.banks]
    with ray_session(missing[0].config.ray):
        for number, bank in enumerate(missing, 1):
            rows = dict.fromkeys(
                run.run.row for table in planned for run in table.runs if run.bank.uri == bank.uri
            )
            console.print(
                f"bank {number} of {len(missing)}: {', '.join(rows)}", markup=False, highlight=False
            )
            if make_bank(with_source(bank, known), command, console, retry_failed=retry_failed):
                return False
    return True


def answer_all_missing(planned: Sequence[PlannedTable], store: AnswerStore, console: Console) -> None:
    """Answer every run that has no answers yet, those that two tables share once."""

    def tick(label: str, done: int, total: int) -> None:
        if done == total:
            console.print(f"{label}: {total} questions answered", markup=False, highlight=False)

    runs = {run.identity: run for table in planned for run in table.runs if find_answers(run, store) is None}
    answer_runs(list(runs.values()), store, tick)


if __name__ == "__main__":
    from jobs.cli import run

    sys.exit(run("ablate", sys.argv[1:]))
