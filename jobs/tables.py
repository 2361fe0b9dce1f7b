"""Carry out planned tables on Ray: show what is there, make the banks that are missing, answer the runs that are.

Nothing is made before every row is checked. Each bank and each run's answers are kept as soon as they are complete, so that the
same command resumes, and one more row costs one row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console

from jobs.make_bank import make_bank
from jobs.ray_session import ray_session
from prag_core.experiments.banks import NamedBank
from prag_core.experiments.plan import PlannedRun, PlannedTable
from prag_core.experiments.workspace import Workspace
from prag_core.terminal.console import make_table

Groups = Mapping[str, Sequence[PlannedRun]]  # a line of the plan → its runs


def show_plan(
    title: str, groups: Groups, missing: Sequence[NamedBank], workspace: Workspace, console: Console
) -> None:
    """Print what is there and what is to be made: a summary, then a line for each group."""
    lacking = {bank.uri for bank in missing}
    table = make_table("row", "bank", "", "answered", "to answer", box=SIMPLE_HEAD)
    for column in table.columns[:3]:
        column.no_wrap = True
    num_cached = num_runs = num_to_answer = 0
    for name, runs in groups.items():
        done: list[PlannedRun] = []
        todo: list[PlannedRun] = []
        for planned in runs:
            is_there = planned.bank.uri not in lacking and workspace.find_answers(planned) is not None
            (done if is_there else todo).append(planned)
        banks = list(dict.fromkeys(planned.bank.uri for planned in runs))
        names = [uri.rsplit("/", 1)[1][:8] for uri in banks]
        states = ["to make" if uri in lacking else "there" for uri in banks]
        cells = (name, "\n".join(names), "\n".join(states), _methods(done), _methods(todo))
        table.add_row(*cells)
        num_cached += not todo
        num_runs += len(runs)
        num_to_answer += len(todo)
    needed = {planned.bank.uri for runs in groups.values() for planned in runs}
    console.print(
        f"{title}: {len(groups)} rows: {num_cached} cached, {len(groups) - num_cached} to run ({len(needed & lacking)} of "
        f"{len(needed)} banks to make, {num_to_answer} of {num_runs} runs to answer)"
    )
    console.print(table)


def carry_out(
    tables: Sequence[PlannedTable],
    missing: Sequence[NamedBank],
    workspace: Workspace,
    command: str,
    console: Console,
    *,
    retry_failed: bool,
) -> bool:
    """Make the missing banks in one Ray session, then answer every run that has no answers. Return False if a bank could not be
    made completely; nothing is answered then. `command` is what resumes."""
    if missing:
        known = [bank for table in tables for bank in table.banks]
        with ray_session(missing[0].config.ray):
            for number, bank in enumerate(missing, 1):
                rows = [
                    run.run.row.name for table in tables for run in table.runs if run.bank.uri == bank.uri
                ]
                console.print(f"bank {number} of {len(missing)}: {', '.join(dict.fromkeys(rows))}")
                config = workspace.config_to_make(bank, known)
                status = make_bank(config, command, console, retry_failed=retry_failed)
                workspace.forget(bank.uri)
                if status:
                    return False

    def tell(name: str, done: int, total: int) -> None:
        if done == total:
            console.print(f"{name}: {total} questions answered")

    runs = [run for table in tables for run in table.runs if workspace.find_answers(run) is None]
    workspace.answer(runs, tell)
    return True


def _methods(runs: Sequence[PlannedRun]) -> str:
    return ", ".join(dict.fromkeys(planned.run.method for planned in runs))
