"""`prag parameterize`: turn a corpus into an adapter bank on Ray. The same command again resumes.

Promises: after a run every document of the corpus has an adapter, or is text_only (its adapter failed the exam), or is
quarantined with its reason. Committed shards are not repeated. Documents that left the corpus leave the new snapshot. Failed
shards make the exit code 1; the output names them, the reason, and the command that resumes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from jobs.cli import start
from jobs.make_bank import make_bank, resume_command
from prag_core.config.command_line import parse_settings, settings_parser
from prag_core.terminal.console import open_console
from prag_core.terminal.parser import add_flag
from prag_core.terminal.streams import stderr

EXAMPLE = "prag parameterize corpus.uri=corpus.jsonl bank.uri=s3://bucket/bank model.path=meta-llama/Llama-3.2-1B-Instruct"


def main(argv: Sequence[str]) -> int:
    parser = settings_parser(
        "parameterize", "Turn a corpus into a bank of adapters, on Ray. Run it again to resume.", EXAMPLE
    )
    add_flag(
        parser,
        "--retry-quarantined",
        old_name="--retry-failed",
        help="Try quarantined and text_only documents again.",
    )
    config, options = parse_settings(parser, argv)
    command = resume_command("parameterize", argv)
    console = open_console(stderr())
    return make_bank(config, command, console, retry_failed=options.retry_quarantined)


if __name__ == "__main__":
    sys.exit(start("parameterize", *sys.argv[1:]))
