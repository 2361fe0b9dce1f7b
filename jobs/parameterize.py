"""`prag parameterize`: a corpus becomes an adapter bank, on a Ray cluster. The same command again resumes.

What a run promises: afterwards every document of the corpus is an adapter or is quarantined with its reason; shards
already committed are not done again; documents that left the corpus leave the new snapshot. The exit code is 1 when
shards failed, and the output says which, why, and the command that goes on.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from jobs.arguments import parse_settings, settings_parser
from prag_core.bank import Bank
from prag_core.config import Config, absolute_paths
from prag_core.corpus import read_corpus
from prag_core.plan import make_plan
from prag_core.recipe import prepare_recipe

EXAMPLE = "prag parameterize corpus.uri=corpus.jsonl bank.uri=s3://bucket/bank model.path=meta-llama/Llama-3.2-1B-Instruct"


def main(argv: Sequence[str]) -> int:
    parser = settings_parser("parameterize", "Turn a corpus into an adapter bank; run again to resume.", EXAMPLE)
    parser.add_argument("--retry-failed", action="store_true", help="try quarantined documents again")
    config, options = parse_settings(parser, argv)
    return parameterize(absolute_paths(config), options.retry_failed, Console(stderr=True), list(argv))


def parameterize(config: Config, retry_failed: bool, console: Console, argv: Sequence[str]) -> int:
    """Plan, run, snapshot, report; the exit code."""
    prepared = prepare_recipe(config)
    bank = Bank.create(config.bank.uri, prepared.recipe, prepared.layout, prepared.initial)
    plan = make_plan(config, bank, read_corpus(config.corpus), prepared, write=True, retry_failed=retry_failed)
    console.print(plan.summary())
    rows = run_shards(config, plan, console) if plan.shards else []
    snapshot = bank.write_snapshot(plan.wanted())
    return report(snapshot, rows, console, argv)
