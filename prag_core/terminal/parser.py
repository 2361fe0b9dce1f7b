"""The parser of a verb's command line."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from prag_core.terminal.streams import stderr, stdout


def add_flag(
    parser: argparse._ActionsContainer, name: str, *, old_name: str, help: str, **options: Any
) -> None:
    """Add an option without a value to a parser or a group. Its old name goes on working, and is not shown."""
    action = {"action": "store_true", **options}
    parser.add_argument(name, help=help, **action)
    parser.add_argument(old_name, dest=name.lstrip("-").replace("-", "_"), help=argparse.SUPPRESS, **action)


class Parser(argparse.ArgumentParser):
    """A parser whose help and errors reach the user, with the option that every verb has."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"formatter_class": argparse.RawDescriptionHelpFormatter, **options})
        self.add_argument(
            "--verbose",
            action="store_true",
            help="Show what libraries print, too. Otherwise it goes to a log in ~/.cache/prag/logs.",
        )

    def _print_message(self, message: str, file: Any = None) -> None:
        """Print on the user's stream. All that argparse prints goes through here."""
        super()._print_message(message, stderr() if file is sys.stderr else stdout())
