"""`prag evaluate`: methods × questions, as a table in the terminal and report.json, report.md, a plot and predictions on disk."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console

from jobs.progress import ticking
from prag_core.config.command_line import parse_settings, settings_parser
from prag_core.evaluation.output import show_report, table_console, write_report
from prag_core.experiments.evaluate import evaluate

EXAMPLE = "prag evaluate bank.uri=out/bank evaluate.questions=questions.jsonl evaluate.methods=[closed_book,rag,prag,combine]"


def main(argv: Sequence[str]) -> int:
    parser = settings_parser("evaluate", "Score methods on a file of questions.", EXAMPLE)
    config, _ = parse_settings(parser, argv)
    errors = Console(stderr=True)
    with ticking() as tick:
        report = evaluate(
            config, tick, lambda note: errors.print(note, markup=False, highlight=False, soft_wrap=True)
        )
    written = write_report(report, config.evaluate.out)
    show_report(report, table_console())
    for path in written:
        print(path)
    return 0


if __name__ == "__main__":
    from jobs.cli import run

    sys.exit(run("evaluate", sys.argv[1:]))
