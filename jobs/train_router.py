"""`prag train-router`: train a router of Adaptive-RAG on questions that every strategy answers, and say how well it chooses."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from jobs.cli import start
from jobs.progress import ticking
from prag_core.answering.adaptive.router import save_router
from prag_core.config.command_line import parse_settings, settings_parser
from prag_core.evaluation.output import show_table
from prag_core.experiments.router_training.report import text_tables
from prag_core.experiments.router_training.train import train_router
from prag_core.terminal.console import open_console
from prag_core.terminal.streams import say

EXAMPLE = "prag train-router --method adaptive_rag methods.router=out/routers bank.uri=out/bank router.questions=train.jsonl"


def main(argv: Sequence[str]) -> int:
    parser = settings_parser(
        "train-router", "Train the router of an adaptive method on questions of its own.", EXAMPLE
    )
    parser.add_argument(
        "--method",
        default="adaptive_rag",
        help="The method: adaptive_rag (default), adaptive_rag+prag or adaptive_prag.",
    )
    config, options = parse_settings(parser, argv)
    with ticking() as tick:
        router, report = train_router(config, options.method, tick)
    written = save_router(router, config.methods.router, options.method)
    for table in text_tables(report):
        show_table(table, open_console())
    say(written)
    return 0


if __name__ == "__main__":
    sys.exit(start("train-router", *sys.argv[1:]))
