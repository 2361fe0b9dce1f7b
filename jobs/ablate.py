"""`prag ablate`: make tables of rows × methods. Banks and answers that earlier tables and runs made are taken from there."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from jobs.cli import start
from jobs.make_bank import resume_command
from jobs.tables import carry_out, show_plan
from prag_core.config.command_line import settings_parser
from prag_core.config.dump import as_yaml
from prag_core.errors import ConfigError
from prag_core.evaluation.output import show_report, write_report
from prag_core.experiments.plan import PlannedRun, PlannedTable
from prag_core.experiments.table_file import load_table
from prag_core.experiments.workspace import Workspace
from prag_core.terminal.console import open_console
from prag_core.terminal.parser import add_flag
from prag_core.terminal.streams import say, stderr

EXAMPLE = "prag ablate conf/ablations/training.yaml conf/ablations/serving.yaml --dry-run"


def main(argv: Sequence[str]) -> int:
    parser = settings_parser(
        "ablate",
        "Make tables of rows of settings and methods. Banks and answers that exist are not made again; run it again to resume.",
        EXAMPLE,
        table="A YAML file that describes a table (docs/ablations.md). Further files may follow.",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="Only report what exists and what would be made."
    )
    add_flag(
        parser, "--retry-quarantined", old_name="--retry-failed", help="Try quarantined documents again."
    )
    options = parser.parse_intermixed_args(list(argv))
    files = [options.table, *(item for item in options.settings if "=" not in item)]
    settings = [item for item in options.settings if "=" in item]
    tables = [load_table(file, settings, options.config) for file in files]
    if options.print_config:
        say(as_yaml(tables[0].config).rstrip())
        return 0
    if repeated := {table.name for table in tables if [other.name for other in tables].count(table.name) > 1}:
        raise ConfigError(f"two tables are named {', '.join(repeated)}; a table is named after its file")
    workspace = Workspace(tables[0].config.ablate.out)
    planned = [workspace.plan(table) for table in tables]
    console, retry_failed = open_console(stderr()), options.retry_quarantined
    missing = workspace.missing_banks(planned, retry_failed=retry_failed)
    for table in planned:
        plan_console = open_console() if options.dry_run else console
        show_plan(table.table.title, runs_by_row(table), missing, workspace, plan_console)
    if options.dry_run:
        return 0
    command = resume_command("ablate", argv)
    if not carry_out(planned, missing, workspace, command, console, retry_failed=retry_failed):
        return 1
    for table in planned:
        report = workspace.report(table)
        show_report(report, open_console())
        for path in write_report(report, f"{workspace.out}/{table.table.name}"):
            say(path)
    return 0


def runs_by_row(planned: PlannedTable) -> dict[str, list[PlannedRun]]:
    """Group a table's runs by row, in order of first appearance."""
    rows: dict[str, list[PlannedRun]] = {}
    for run in planned.runs:
        rows.setdefault(run.run.row.name, []).append(run)
    return rows


if __name__ == "__main__":
    sys.exit(start("ablate", *sys.argv[1:]))
