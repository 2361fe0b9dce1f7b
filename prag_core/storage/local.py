"""Local files that are whole or absent, after a power loss too: a temporary name beside the file, both synced to the disk."""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

TEMPORARY = ".tmp-"  # how the names of unfinished local files begin
ATTEMPTS = 100  # to make a file in a folder that others remove when it is empty
NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}  # answers to `os.link`


def user_cache() -> Path:
    """This user's folder for what can be made again. Raises RuntimeError for a user without a home."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "prag"


def temporary_path(path: str) -> Path:
    """Make an empty file of a new name beside `path`, and the folder if there is none."""
    target = Path(path)
    temporary = target.with_name(f"{TEMPORARY}{uuid.uuid4().hex}")
    for _ in range(ATTEMPTS):
        missing = [folder for folder in target.parents if not folder.exists()]
        target.parent.mkdir(parents=True, exist_ok=True)
        for folder in missing:
            sync_folder(folder.parent)
        with contextlib.suppress(FileNotFoundError):  # another process removed the folder, which was empty
            temporary.touch(exist_ok=False)
            return temporary
    raise FileNotFoundError(errno.ENOENT, "its folder is removed again and again", str(target))


@contextlib.contextmanager
def temporary_file(path: str) -> Iterator[Path]:
    """A new name beside `path`, with nothing left under it after the block."""
    temporary = temporary_path(path)
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def write_synced(path: Path, data: bytes, mode: Literal["wb", "xb"] = "wb") -> None:
    """Write a file to the disk; "xb": one that there is not yet."""
    with path.open(mode) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Bring a folder's names to the disk. Some file systems cannot, and need not be told."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def leads_out(folder: str, relative: str) -> bool:
    """Whether links on the way from a folder to a path within it lead out of the folder."""
    path = folder
    for part in relative.split("/"):
        path = f"{path}/{part}"
        if os.path.islink(path):
            home = os.path.realpath(folder)
            return os.path.commonpath([home, os.path.realpath(path)]) != home
    return False
