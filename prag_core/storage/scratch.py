"""Temporary folders that go away even where their process was killed: at the next start of any process that needs one.

A live process holds a lock on its folder, which the kernel drops however the process dies; process ids say nothing in containers.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import shutil
import tempfile
import time
import weakref
from pathlib import Path

PREFIX = "prag-scratch-"
YOUNG = 60.0  # seconds in which a new folder may not be locked yet


class ScratchFolder(tempfile.TemporaryDirectory[str]):
    """A temporary folder that lives as long as this object, and no longer than its process."""

    def __init__(self) -> None:
        remove_left_over(tempfile.gettempdir())
        super().__init__(prefix=PREFIX)
        descriptor = os.open(self.name, os.O_RDONLY)
        weakref.finalize(self, os.close, descriptor)
        with contextlib.suppress(OSError):  # a file system without locks: nothing is removed there either
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


@functools.cache  # once a process
def remove_left_over(folder: str) -> None:
    """Remove the scratch folders of this user whose processes are dead."""
    for path in Path(folder).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            _remove_unless_alive(path)


def _remove_unless_alive(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        status = os.fstat(descriptor)
        if status.st_uid == os.getuid() and time.time() - status.st_mtime > YOUNG:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path)
    finally:
        os.close(descriptor)
