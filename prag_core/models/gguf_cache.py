"""GGUF files as model folders, each made once on a machine: bf16 safetensors, config, tokenizer and chat template.

A folder is named by the digest of the file's bytes and appears whole or not at all, after a power loss too. Processes that need
the same one at once wait for the first; where the file system has no locks, each makes it and one copy stays.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError

from prag_core.errors import ModelError, StorageError
from prag_core.identity import file_sha256
from prag_core.models.gguf_folder import save_as_folder
from prag_core.models.gguf_header import open_gguf
from prag_core.storage.local import TEMPORARY, sync_folder, user_cache

VARIABLE = "PRAG_MODELS"  # environment variable that names another folder for the cache


def cache_folder() -> Path:
    """The folder of the converted models: `~/.cache/prag/models`, unless PRAG_MODELS names another."""
    named = os.environ.get(VARIABLE)
    return Path(named).expanduser() if named else user_cache() / "models"


def converted_folder(file: Path, path: str) -> Path:
    """Return the folder of a GGUF file, made now if there is none. `path` is how the user names the model.

    Raises ModelError where the file is missing, damaged or of a kind that cannot be read, StorageError where the cache cannot
    take it."""
    try:
        status = file.stat()
        folder = cache_folder() / _digest(str(file), status.st_size, status.st_mtime_ns)
    except FileNotFoundError:
        raise ModelError(f"model.path={path}: no such file on this machine") from None
    except OSError as error:
        raise ModelError(f"model.path={path}: cannot be read: {error.strerror or error}") from None
    if folder.is_dir():
        return folder
    with _writing(folder.parent, path):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _lock(folder) as alone:
            if alone:
                _remove_left_over(folder)
            if not folder.is_dir():
                _make(folder, file, path)
    return folder


@functools.cache
def _digest(file: str, size: int, modified: int) -> str:
    """SHA-256 of a file, read once in a process as long as its size and time (ns) stay."""
    return file_sha256(Path(file))


def _make(folder: Path, file: Path, path: str) -> None:
    temporary = folder.with_name(f"{_beginning(folder)}{uuid.uuid4().hex}")
    temporary.mkdir()
    try:
        header = open_gguf(file, path)
        free = shutil.disk_usage(temporary).free
        if free < header.folder_bytes:
            raise StorageError(
                f"model.path={path}: no room in the cache {folder.parent}: {header.folder_bytes / 1e9:.2f} GB needed, "
                f"{free / 1e9:.2f} free; free some, or name another folder in {VARIABLE}"
            )
        save_as_folder(header, temporary)
        for made in temporary.iterdir():
            made.chmod(0o644)  # safetensors makes files for their owner alone
            with made.open("rb") as written:
                os.fsync(written.fileno())
        sync_folder(temporary)
        with contextlib.suppress(FileExistsError):  # another process, without a lock
            _rename(temporary, folder)
        sync_folder(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _rename(temporary: Path, folder: Path) -> None:
    try:
        temporary.rename(folder)
    except OSError:
        if folder.is_dir():
            raise FileExistsError from None
        raise


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[bool]:
    """Hold the folder's lock, and tell whether there is one: some file systems have none."""
    with folder.with_name(f".lock-{folder.name}").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            locked = True
        except OSError:
            locked = False
        yield locked


def _remove_left_over(folder: Path) -> None:
    """Remove what killed processes left of this folder. Only for who holds its lock."""
    for path in folder.parent.glob(f"{_beginning(folder)}*"):
        shutil.rmtree(path, ignore_errors=True)


def _beginning(folder: Path) -> str:
    return f"{TEMPORARY}{folder.name}-"


@contextlib.contextmanager
def _writing(cache: Path, path: str) -> Iterator[None]:
    try:
        yield
    except StorageError:
        raise
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise StorageError(
            f"model.path={path}: the cache {cache} cannot take it: {reason}; free some room or mend it, or name another "
            f"folder in {VARIABLE}"
        ) from None
