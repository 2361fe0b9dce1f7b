"""`prag evaluate`: score methods on questions; print a table, and write report.json, report.md, a plot and the predictions."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from jobs.cli import start
from jobs.progress import ticking
from prag_core.config.command_line import parse_settings, settings_parser
from prag_core.evaluation.output import show_report, write_report
from prag_core.experiments.evaluate import evaluate
from prag_core.terminal.console import open_console
from prag_core.terminal.streams import say, warn

EXAMPLE = "prag evaluate bank.uri=out/bank evaluate.questions=questions.jsonl evaluate.methods=[closed_book,rag,prag,combine]"


def main(argv: Sequence[str]) -> int:
    parser = settings_parser("evaluate", "Score methods on a file of questions.", EXAMPLE)
    config, _ = parse_settings(parser, argv)
    with ticking() as tick:
        report = evaluate(config, tick, warn)
    written = write_report(report, config.evaluate.out)
    show_report(report, open_console())
    for path in written:
        say(path)
    return 0


if __name__ == "__main__":
    sys.exit(start("evaluate", *sys.argv[1:]))
