"""Every verb's parser has --verbose, and subcommands' parsers too."""

from __future__ import annotations

import subprocess
import sys

import pytest

from prag_core.terminal.parser import Parser, add_flag

SCRIPT = """
from prag_core.terminal.parser import Parser
from prag_core.terminal.streams import hide_libraries
hide_libraries("test")
Parser(prog="prag x", description="Do x.").parse_args(ARGUMENTS)
"""


def test_a_subcommand_takes_verbose_as_well() -> None:
    parser = Parser(prog="prag x")
    parser.add_subparsers().add_parser("y")
    assert parser.parse_args(["y", "--verbose"]).verbose


@pytest.mark.parametrize(("arguments", "stream"), [(["--help"], "stdout"), (["--nonsense"], "stderr")])
def test_help_and_errors_reach_the_user_while_libraries_are_hidden(arguments: list[str], stream: str) -> None:
    script = SCRIPT.replace("ARGUMENTS", repr(arguments))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "usage: prag x" in getattr(done, stream)


def test_an_options_old_name_works_and_is_not_shown() -> None:
    parser = Parser(prog="prag x")
    add_flag(parser, "--retry-quarantined", old_name="--retry-failed", help="try again")
    for given, expected in ((["--retry-failed"], True), (["--retry-quarantined"], True), ([], False)):
        assert parser.parse_args(given).retry_quarantined is expected
    assert "--retry-failed" not in parser.format_help() and "--retry-quarantined" in parser.format_help()
