"""`prag delete`: take documents out of a bank, or bring back those that were taken out."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from jobs.bank import count_documents
from jobs.cli import start
from prag_core.bank import Bank, delete_documents, restore_documents
from prag_core.terminal.parser import Parser
from prag_core.terminal.streams import say

EPILOG = """Deleted documents are out of every answer at once, and stay out whatever the corpus says, until --restore. Their
bytes are
erased by prag bank gc after its grace period; a document that is restored later than that must be trained again. Rebuild the
retrieval index when convenient: prag index.

examples:
  prag delete out/bank --doc-id 12345 --doc-id 67890
  prag delete out/bank --doc-id 12345 --restore"""


def main(argv: Sequence[str]) -> int:
    """Delete or restore; returns the exit code."""
    parser = Parser(
        prog="prag delete",
        description="Take documents out of a bank, or bring them back.",
        epilog=EPILOG,
    )
    parser.add_argument("bank", metavar="BANK", help="The bank's folder or URI.")
    parser.add_argument(
        "--doc-id",
        metavar="ID",
        action="append",
        required=True,
        help="A document, with all of its chunks. May be repeated.",
    )
    parser.add_argument("--restore", action="store_true", help="Bring the documents back instead.")
    options = parser.parse_args(list(argv))
    bank = Bank.open(options.bank)
    before = bank.require_snapshot().name
    snapshot = (restore_documents if options.restore else delete_documents)(bank, options.doc_id)
    say(f"{bank.uri}: snapshot {snapshot.name}: {count_documents(snapshot)}")
    if other := snapshot.overtook(before):
        say(f"another command published snapshot {other} meanwhile; this one was made from it")
    say(
        "next: prag index, and prag bank gc --apply after the grace period"
        if not options.restore
        else "next: prag index"
    )
    return 0


if __name__ == "__main__":
    sys.exit(start("delete", *sys.argv[1:]))
