"""One run of the offline pipeline: plan, augment and train on Ray, write the snapshot, and report on every document.

Used by every verb that makes banks. What a run promises is said in `jobs/parameterize.py`.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from rich.console import Console

from jobs.progress import show_progress
from jobs.ray_pipeline import Row, run_pipeline
from jobs.ray_session import ray_session
from jobs.shard_counts import ShardCounts
from prag_core.augmentation.checks import describe_tally
from prag_core.bank import Bank, Snapshot, hold_lease
from prag_core.config.schema import Checks, Config
from prag_core.corpus.reader import read_corpus
from prag_core.planning.plan import Plan
from prag_core.planning.planner import make_plan
from prag_core.planning.recipe import prepare_recipe
from prag_core.planning.run_stats import sum_tallies, write_run_stats
from prag_core.stages.shard import open_augmentations

SHOWN = 10  # quarantined documents and failed shards that are named
NOT_TO_REPEAT = ("--retry-quarantined", "--retry-failed", "--dry-run")


def resume_command(verb: str, argv: Sequence[str]) -> str:
    """Return the command line that resumes this run: the same arguments, without the options of a single run."""
    return f"prag {verb} {shlex.join(arg for arg in argv if arg not in NOT_TO_REPEAT)}"


def make_bank(config: Config, command: str, console: Console, *, retry_failed: bool = False) -> int:
    """Plan, run, write the snapshot, and report on every document. Returns the exit code."""
    prepared = prepare_recipe(config)
    documents = read_corpus(config.corpus)
    if config.augmentation.uri:
        open_augmentations(config.augmentation.uri, prepared.recipe)  # refused now rather than shard by shard
    bank = Bank.create(config.bank.uri, prepared.recipe, prepared.layout, prepared.initial)
    plan = make_plan(config, bank, documents, prepared, write=True, retry_failed=retry_failed)
    for line in (plan.summary(), *prepared.notes, *plan.rejections()):
        console.print(line)
    with hold_lease(bank, plan.run):
        rows = run_shards(config, bank, plan, console) if plan.shards else []
        snapshot = bank.write_snapshot(plan.wanted())
    write_run_stats(bank, plan.run, rows)
    failed = [row for row in rows if row["error"]]
    if tally := sum_tallies(rows):
        console.print(describe_tally(tally, dropped=config.augmentation.checks is Checks.drop))
    report(config.bank.uri, snapshot, failed, command, console)
    for line in plan.departures(snapshot):
        console.print(line)
    return 1 if failed else 0


def run_shards(config: Config, bank: Bank, plan: Plan, console: Console) -> list[Row]:
    """Run the pipeline over the plan's shards. Returns a row for each."""
    num_documents = sum(shard.num_documents for shard in plan.shards)
    with ray_session(config.ray):
        counts = ShardCounts()
        rows = run_pipeline(bank.uri, config, plan.shards, counts)
        return list(show_progress(rows, len(plan.shards), num_documents, counts.read, console))


def report(uri: str, snapshot: Snapshot, failed: Sequence[Row], command: str, console: Console) -> None:
    """Print what is in the bank now, what is not and why, and the command that resumes."""

    def say(text: str, style: str = "") -> None:
        console.print(text, style=style)

    adapters, text_only, quarantined = (
        snapshot.counts[status] for status in ("adapter", "text_only", "failed")
    )
    served_as_text = f"{text_only:,} documents text_only, " if text_only else ""
    say(
        f"{uri}: snapshot {snapshot.name} has {adapters:,} adapters, {served_as_text}{quarantined:,} documents quarantined"
    )
    for failure in snapshot.failures[:SHOWN]:
        say(f"  {failure.doc_id} chunk {failure.chunk}, at {failure.stage}: {failure.reason[:200]}")
    if quarantined > SHOWN:
        say(f"  … {quarantined - SHOWN:,} more: prag bank ls {uri} --quarantined")
    if text_only:
        say(f"  text_only: their adapters did not pass the exam: prag bank ls {uri} --text-only")
    if quarantined:
        say(f"  to try them again: {command} --retry-quarantined")
    for row in failed[:SHOWN]:
        say(f"shard {row['shard_id']} failed while making {row['error_stage']}: {row['error']}", "red")
    if failed:
        say(f"{len(failed)} shards failed; to go on with them: {command}", "bold red")
