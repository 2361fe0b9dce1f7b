"""`prag plan`: say what a run would do, without doing it. Reads the corpus, the model's tokenizer and config, and the bank
if there is one; writes nothing and loads no weights."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.table import Table

from jobs.cli import start
from prag_core.bank import Bank
from prag_core.config.command_line import parse_settings, settings_parser
from prag_core.config.schema import Config
from prag_core.corpus.reader import read_corpus
from prag_core.planning.plan import Plan
from prag_core.planning.planner import make_plan
from prag_core.planning.recipe import prepare_recipe
from prag_core.retrieval.analyzer import unspaced_note
from prag_core.terminal.console import make_table, open_console
from prag_core.terminal.parser import add_flag

EXAMPLE = "prag plan corpus.uri=corpus.jsonl bank.uri=out/bank model.path=meta-llama/Llama-3.2-1B-Instruct"


def main(argv: Sequence[str]) -> int:
    parser = settings_parser(
        "plan", "Say what `prag parameterize` would do with the same settings. Writes nothing.", EXAMPLE
    )
    add_flag(
        parser,
        "--retry-quarantined",
        old_name="--retry-failed",
        help="Plan to try quarantined and text_only documents again.",
    )
    config, options = parse_settings(parser, argv)
    prepared = prepare_recipe(config)
    if bank := Bank.find(config.bank.uri):
        bank.require_recipe(prepared.recipe, prepared.layout)
    plan = make_plan(
        config,
        bank,
        read_corpus(config.corpus),
        prepared,
        write=False,
        retry_failed=options.retry_quarantined,
    )
    show(plan, config, exists=bank is not None, notes=prepared.notes)
    return 0


def show(plan: Plan, config: Config, *, exists: bool, notes: Sequence[str]) -> None:
    """Print the plan as two tables, its assumptions, and what a user should know of the model and the corpus."""
    console = open_console()
    counts, cost = plan.counts, plan.estimate
    console.print(documents_table(plan, config, exists=exists))
    work = make_table("to do", "", title="What a run would do", title_justify="left", show_header=False)
    work.columns[1].justify = "right"
    todo = sum(shard.num_documents for shard in plan.shards)
    sizes = [shard.num_documents for shard in plan.shards]
    for name, value in (
        ("documents to do", f"{todo:,}"),
        ("shards", f"{len(sizes):,}" + (f" of {min(sizes):,} to {max(sizes):,} documents" if sizes else "")),
        ("tokens to train on", f"{cost.train_tokens:,}"),
        ("tokens to read and write in augmentation", f"{cost.augment_tokens:,}"),
        ("bytes of bank", f"{cost.bank_bytes:,} ({cost.bank_bytes / 1e9:.2f} GB)"),
        (
            "GPU hours",
            f"{cost.gpu_hours:.3g} (training {cost.train_gpu_hours:.2g}, augmentation {cost.augment_gpu_hours:.2g})",
        ),
    ):
        work.add_row(name, value)
    console.print(work)
    console.print("Assumed:\n" + "\n".join(f"  {line}" for line in cost.assumptions))
    for line in (*notes, *plan.rejections()):
        console.print(line)
    if note := unspaced_note(counts.unspaced, counts.documents):
        console.print(note)
    if counts.long:
        named = ", ".join(plan.long_documents) + (", …" if counts.long > len(plan.long_documents) else "")
        console.print(
            f"{counts.long:,} documents are longer than the model's context and would be quarantined: {named}\n"
            "set corpus.long_documents=chunk to cut them into chunks"
        )


def documents_table(plan: Plan, config: Config, *, exists: bool) -> Table:
    """Tabulate the state of the corpus's documents; lines of zero are left out but for the main ones."""
    bank = config.bank.uri if exists else f"{config.bank.uri} (not there yet)"
    table = make_table(
        "documents", "", title=f"{config.corpus.uri} → {bank}", title_justify="left", show_header=False
    )
    table.columns[1].justify = "right"
    counts = plan.counts
    for name, value, always in (
        ("documents in the corpus", counts.documents, True),
        ("repeated in the corpus, dropped", counts.duplicates, False),
        ("rows rejected", counts.rejected, False),
        ("new", counts.new, True),
        ("  of these quarantined or text_only before, tried again", counts.retried, False),
        ("left over from an unfinished run", counts.resumed, False),
        ("already done", counts.done, True),
        (
            "text_only, their adapter failed its exam (again with --retry-quarantined)",
            counts.text_only,
            False,
        ),
        ("quarantined (again with --retry-quarantined)", counts.failed, True),
        ("deleted, stay out", counts.deleted, False),
        ("in the last snapshot in another wording", counts.edited, False),
        ("in the last snapshot, no longer in the corpus", counts.left, False),
    ):
        if value or always:
            table.add_row(name, f"{value:,}")
    return table


if __name__ == "__main__":
    sys.exit(start("plan", *sys.argv[1:]))
