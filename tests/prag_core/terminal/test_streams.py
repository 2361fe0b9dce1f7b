"""A user reads what prag says; what anything else in the process prints is in a log."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from prag_core.terminal.streams import say, warn

EVERYTHING_PRINTS = """
import ctypes, logging, os, subprocess, sys, warnings
early = logging.StreamHandler()
from prag_core.terminal.streams import hide_libraries, say, warn
log = hide_libraries("ask")
print("PRINTED"); print("PRINTED TO STDERR", file=sys.stderr)
warnings.warn("WARNED"); logging.warning("LOGGED")
os.write(1, b"FROM C\\n"); os.write(2, b"FROM C TO STDERR\\n")
subprocess.run(["sh", "-c", "echo FROM A CHILD; echo FROM A CHILD TO STDERR >&2"])
logging.getLogger("early").addHandler(early); logging.getLogger("early").error("FROM A HANDLER")
say("[/r/]answer \\u2026"); warn("mind this")
if os.fork() == 0:
    print("FROM A FORK", flush=True); os._exit(0)
os.wait()
"""
PRINTED = (
    "PRINTED",
    "PRINTED TO STDERR",
    "WARNED",
    "LOGGED",
    "FROM C",
    "FROM C TO STDERR",
    "FROM A CHILD",
    "FROM A CHILD TO STDERR",
    "FROM A HANDLER",
    "FROM A FORK",
)


def run(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, **environment}, capture_output=True, text=True
    )


def test_whatever_else_prints_is_in_the_log_and_the_user_reads_what_is_said(tmp_path: Path) -> None:
    done = run(EVERYTHING_PRINTS, XDG_CACHE_HOME=str(tmp_path))
    assert (done.returncode, done.stdout) == (0, "[/r/]answer …\n")
    assert done.stderr == "mind this\n"
    log = (tmp_path / "prag/logs/ask.log").read_text()
    assert all(f"{line}\n" in log for line in PRINTED), log


def test_a_folder_that_cannot_be_written_gives_way_to_a_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "prag").write_text("in the way")
    script = (
        "from prag_core.terminal.streams import *; path = hide_libraries('ask'); print('x'); say(str(path))"
    )
    done = run(script, XDG_CACHE_HOME=str(tmp_path), TMPDIR=str(tmp_path))
    path = Path(done.stdout.strip())
    assert path.parent == tmp_path and path.read_text() == "x\n"


def test_in_a_process_of_others_everything_goes_to_its_own_streams(
    capsys: pytest.CaptureFixture[str],
) -> None:
    say("[a]")
    warn("[b]")
    assert capsys.readouterr() == ("[a]\n", "[b]\n")
