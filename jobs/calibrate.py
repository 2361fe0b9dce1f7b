"""`prag calibrate`: choose thresholds on dev questions; print them as a table, and write a settings file for --config."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from jobs.cli import start
from jobs.progress import ticking
from prag_core.config.command_line import parse_settings, settings_parser
from prag_core.evaluation.output import show_table
from prag_core.experiments.calibrate import as_settings, as_text_table, calibrate, write_settings
from prag_core.terminal.console import open_console
from prag_core.terminal.streams import say

EXAMPLE = "prag calibrate bank.uri=out/bank calibrate.methods=[flare] calibrate.questions=dev.jsonl calibrate.out=flare.yaml"


def main(argv: Sequence[str]) -> int:
    parser = settings_parser(
        "calibrate", "Choose thresholds of methods on questions that nothing is measured on.", EXAMPLE
    )
    config, _ = parse_settings(parser, argv)
    settings = config.calibrate
    with ticking() as tick:
        calibrations = list(calibrate(config, tick))
    for calibration in calibrations:
        show_table(as_text_table(calibration, settings.tolerance), open_console())
    write_settings(as_settings(calibrations, settings.questions), settings.out)
    say(f"{settings.out}: give it as a further --config")
    return 0


if __name__ == "__main__":
    sys.exit(start("calibrate", *sys.argv[1:]))
