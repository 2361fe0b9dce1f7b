"""Objects on folders and object stores, through fsspec: any URI, and the few promises that the bank rests on.

- An object becomes visible whole or not at all (`put_whole`, `PendingObject`): a temporary file beside it and an atomic
  rename on a local folder; one upload elsewhere.
- `create_exclusive` is create-if-absent. Some stores let two racing creates both succeed, so it reads back the object, and
  callers must stay right when the answer turns out otherwise later.
- Listings are never cached.

Not obstore, the bindings of object_store. Version 0.12 was tried on the two servers of the tests: it reads and writes right, and
its conditional put does what the store's does (of six racing creates one wins on radosgw, up to six on Swift, as with
s3fs). It read 200 ranges in a third of the time on radosgw, no faster on Swift. But it lists whole folders only (`list_files`
needs the start of a name), does not show unfinished uploads, which gc aborts, and reports a missing bucket as a missing
object. fsspec would stay for these and for other URIs: two clients, configured in two ways.
"""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias, cast

import fsspec
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from prag_core.errors import StorageError

FileSystem: TypeAlias = AbstractFileSystem
TEMPORARY = ".tmp-"  # how the names of unfinished local files begin


def open_root(uri: str) -> tuple[FileSystem, str]:
    """Find the file system of a URI (plain paths are local) and the path within it, without any request.

    Raises StorageError when the URI's protocol is unknown or its driver is not installed.
    """
    options: dict[str, Any] = {}
    if uri.split("://", 1)[0] in ("s3", "s3a"):
        options = {"use_listings_cache": False, "config_kwargs": {"max_pool_connections": 64}}
    try:
        fs, path = fsspec.core.url_to_fs(uri, **options)
    except (ValueError, ImportError) as error:
        raise StorageError(f"{uri}: no file system for this URI ({error})") from None
    return fs, str(path).rstrip("/") or "/"


def is_local(fs: FileSystem) -> bool:
    return isinstance(fs, LocalFileSystem)


def read(fs: FileSystem, path: str) -> bytes:
    """Read a whole small object in one request (a start spares s3fs its HEAD). Raises FileNotFoundError."""
    return cast(bytes, fs.cat_file(path, start=0))


def read_many(fs: FileSystem, paths: Sequence[str]) -> list[bytes]:
    """Read whole small objects, concurrently where the file system can. Raises the first error."""
    return read_ranges(fs, paths, [0] * len(paths), [None] * len(paths))


def read_ranges(
    fs: FileSystem, paths: Sequence[str], starts: Sequence[int], ends: Sequence[int | None]
) -> list[bytes]:
    """Read bytes [start, end) of each path, one request each, concurrently where the file system can."""
    contents = fs.cat_ranges(list(paths), list(starts), list(ends), on_error="return")
    for path, data in zip(paths, contents, strict=True):
        if isinstance(data, FileNotFoundError):
            raise FileNotFoundError(errno.ENOENT, "no such object", path) from data
        if isinstance(data, BaseException):
            raise data
    return cast(list[bytes], contents)


def list_files(fs: FileSystem, folder: str, prefix: str = "") -> dict[str, dict[str, Any]]:
    """List every file under a folder whose path within it begins with `prefix`: that path → the listing's details. Costs as
    much as the files it returns, whatever else lies there."""
    try:
        if is_local(fs):
            files = _find_local(fs, folder, prefix)
        else:
            files = fs.find(folder, detail=True, withdirs=False, **({"prefix": prefix} if prefix else {}))
    except FileNotFoundError:
        return {}
    named = {path[len(folder) :].lstrip("/"): info for path, info in files.items() if path != folder}
    return {name: info for name, info in named.items() if name.startswith(prefix)}


def _find_local(fs: FileSystem, folder: str, prefix: str) -> dict[str, dict[str, Any]]:
    """List local files, walking only those of the folder's entries that begin with `prefix`."""
    inner, _, beginning = prefix.rpartition("/")
    base = os.path.join(folder, inner) if inner else folder
    tops = [base]
    if beginning:
        tops = [os.path.join(base, name) for name in os.listdir(base) if name.startswith(beginning)]
    return {path: info for top in tops for path, info in fs.find(top, detail=True).items()}


def modified(info: dict[str, Any]) -> datetime:
    """Time at which a listed file was last written (UTC); now, if the listing does not say."""
    names = ("LastModified", "mtime", "last_modified", "created", "updated")
    time = next((info[name] for name in names if info.get(name)), None)
    if time is None:
        return datetime.now(UTC)
    if isinstance(time, str):
        time = datetime.fromisoformat(time)
    if isinstance(time, datetime):
        return time if time.tzinfo else time.replace(tzinfo=UTC)
    return datetime.fromtimestamp(float(time), UTC)


def put_whole(fs: FileSystem, path: str, data: bytes) -> None:
    """Write a small object so that it is seen whole or not at all. Replaces an existing one."""
    if not is_local(fs):
        fs.pipe_file(path, data)
        return
    temporary = temporary_path(path)
    try:
        _write_synced(temporary, data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def create_exclusive(fs: FileSystem, path: str, data: bytes) -> bool:
    """Create an object unless it exists. Returns whether the object holds `data` now, and not another writer's bytes.

    Put something of your own into `data` (an attempt's name): after a refusal, a time-out or a server error the object is
    read back, and its content decides. On a store whose conditional put is not exclusive a later writer may still replace it.
    """
    if is_local(fs):
        return _create_local(path, data)
    try:
        fs.pipe_file(path, data, mode="create")
    except Exception:
        try:
            return read(fs, path) == data
        except FileNotFoundError:
            pass
        raise
    return read(fs, path) == data


def _create_local(path: str, data: bytes) -> bool:
    """Create a local file in one step: a hard link of a finished file or, where links cannot be made, O_EXCL."""
    temporary = temporary_path(path)
    try:
        _write_synced(temporary, data)
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            raise
        try:
            with open(path, "xb") as file:
                file.write(data)
        except FileExistsError:
            return False
    finally:
        temporary.unlink(missing_ok=True)
    return True


def temporary_path(path: str) -> Path:
    """Return a new name beside `path`. Creates the folder if there is none."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    return target.with_name(f"{TEMPORARY}{uuid.uuid4().hex}")


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def remove(fs: FileSystem, root: str, names: Sequence[str]) -> None:
    """Remove files under `root`, in order, and local folders that this leaves empty. A missing file is no error."""
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            fs.rm_file(f"{root}/{name}")
    if is_local(fs):
        for folder in sorted({Path(root, name).parent for name in names}, reverse=True):
            while folder != Path(root):
                with contextlib.suppress(OSError):
                    folder.rmdir()
                folder = folder.parent
