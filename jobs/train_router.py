"""`prag train-router`: a router for Adaptive-RAG, from training questions that every strategy answers, with what it is worth."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from jobs.progress import ticking
from prag_core.answering.adaptive.router import save_router
from prag_core.config.command_line import parse_settings, settings_parser
from prag_core.evaluation.output import show_grid, table_console
from prag_core.experiments.router_training.report import grids
from prag_core.experiments.router_training.train import train_router

EXAMPLE = "prag train-router --method adaptive_rag methods.router=out/routers bank.uri=out/bank router.questions=train.jsonl"


def main(argv: Sequence[str]) -> int:
    parser = settings_parser(
        "train-router", "Train the router of an adaptive method on questions of its own.", EXAMPLE
    )
    parser.add_argument(
        "--method", default="adaptive_rag", help="adaptive_rag (default), adaptive_rag+prag or adaptive_prag"
    )
    config, options = parse_settings(parser, argv)
    with ticking() as tick:
        router, report = train_router(config, options.method, tick)
    written = save_router(router, config.methods.router, options.method)
    for grid in grids(report):
        show_grid(grid, table_console())
    print(written)
    return 0


if __name__ == "__main__":
    from jobs.cli import run

    sys.exit(run("train-router", sys.argv[1:]))
