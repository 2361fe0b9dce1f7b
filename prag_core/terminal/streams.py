"""The two streams that a user reads. What prag says goes to them, what libraries print goes to a log.

`hide_libraries` turns the process's own output into a log: sys.stdout, sys.stderr and the file descriptors under them, so that
warnings, bars, lines of C++ and of child processes are all in there. `stdout()` and `stderr()` are still the user's.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TextIO

_users: dict[str, TextIO] = {}  # like sys.stdout, one for the process; empty until libraries are hidden


def stdout() -> TextIO:
    """The user's standard output."""
    return _users.get("stdout", sys.stdout)


def stderr() -> TextIO:
    """The user's standard error."""
    return _users.get("stderr", sys.stderr)


def say(text: str) -> None:
    """Print a line on the user's standard output."""
    print(text, file=stdout(), flush=True)


def warn(text: str) -> None:
    """Print a line on the user's standard error."""
    print(text, file=stderr(), flush=True)


def hide_libraries(name: str) -> Path:
    """Send what anything else in this process prints to a log, until the process ends. Return the log's path.

    The log has the lines of the newest command of this name; another that still runs goes on in a file without a name.
    """
    path, log = _open_log(name)
    for stream, number in (("stdout", 1), ("stderr", 2)):
        own = getattr(sys, stream)
        own.flush()
        _users[stream] = os.fdopen(os.dup(number), "w", encoding=own.encoding, errors=own.errors)
        os.dup2(log, number)
        own.reconfigure(line_buffering=True, errors="backslashreplace")
    os.close(log)
    return path


def log_folder() -> Path:
    """The folder of the logs: one for each user."""
    from prag_core.storage.local import user_cache  # brings fsspec along, and a log is opened before all else

    return user_cache() / "logs"


def _open_log(name: str) -> tuple[Path, int]:
    """Make an empty log. Where the user's folder cannot be written, it is a temporary file."""
    try:
        folder = log_folder()
        folder.mkdir(parents=True, exist_ok=True)
        log, made = tempfile.mkstemp(dir=folder)
    except (OSError, RuntimeError):  # RuntimeError: there is no home
        log, made = tempfile.mkstemp(prefix=f"prag-{name}-", suffix=".log")
        return Path(made), log
    return Path(made).replace(folder / f"{name}.log"), log
