"""`prag index`: build the retrieval index of the bank's newest snapshot, unless it is there already."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from jobs.cli import start
from prag_core.bank import Bank
from prag_core.config.command_line import parse_settings, settings_parser
from prag_core.retrieval import build_index, has_index, open_index
from prag_core.retrieval.analyzer import unspaced_note
from prag_core.terminal.streams import say

EXAMPLE = "prag index bank.uri=out/bank retrieval.k1=0.9"
SAMPLED = 1000  # documents whose script is looked at


def main(argv: Sequence[str]) -> int:
    parser = settings_parser("index", "Build the retrieval index of the bank's newest snapshot.", EXAMPLE)
    config, _ = parse_settings(parser, argv)
    bank = Bank.open(config.bank.uri)
    snapshot = bank.require_snapshot()
    there = has_index(bank, snapshot, config.retrieval)
    start = time.perf_counter()
    where = build_index(bank, snapshot, config.retrieval)
    seconds = time.perf_counter() - start
    index = open_index(bank, snapshot, config.retrieval)
    done = "already indexed" if there else f"indexed in {seconds:.1f} s"
    say(f"snapshot {snapshot.name}: {len(index):,} documents {done}: {where}")
    if note := unspaced_note(*index.count_unspaced(SAMPLED)):
        say(note)
    return 0


if __name__ == "__main__":
    sys.exit(start("index", *sys.argv[1:]))
