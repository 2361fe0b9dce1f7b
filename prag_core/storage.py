"""Folders and object stores, through fsspec: any URI, and the few promises that the bank rests on.

- An object becomes visible whole or not at all (`put_whole`, `PendingObject`): a temporary file beside it and an atomic
  rename on a local folder; a local temporary file and one upload elsewhere.
- `create_exclusive` is create-if-absent. Some stores let two racing creates both succeed, so it reads back what lies
  there, and callers must stay right when the answer turns out otherwise later.
- Listings are never cached. What the store refuses becomes a StorageError that says what to do (`storage_errors`).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias, cast

import fsspec
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from prag_core.errors import StorageError

FileSystem: TypeAlias = AbstractFileSystem
TEMPORARY = ".tmp-"  # names of unfinished local files begin so


def open_root(uri: str) -> tuple[FileSystem, str]:
    """The file system of a URI (plain paths are local) and the path within it. Touches nothing.

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
    """A whole small object in one request (a start spares s3fs its HEAD). Raises FileNotFoundError."""
    return cast(bytes, fs.cat_file(path, start=0))


def read_many(fs: FileSystem, paths: Sequence[str]) -> list[bytes]:
    """Whole small objects, concurrently where the file system can. Raises the first error."""
    return read_ranges(fs, paths, [0] * len(paths), [None] * len(paths))


def read_ranges(
    fs: FileSystem, paths: Sequence[str], starts: Sequence[int], ends: Sequence[int | None]
) -> list[bytes]:
    """Bytes [start, end) of each path, one request each, concurrently where the file system can."""
    found = fs.cat_ranges(list(paths), list(starts), list(ends), on_error="return")
    for path, data in zip(paths, found, strict=True):
        if isinstance(data, FileNotFoundError):
            raise FileNotFoundError(errno.ENOENT, "no such object", path) from data
        if isinstance(data, BaseException):
            raise data
    return cast(list[bytes], found)


def list_files(fs: FileSystem, folder: str, prefix: str = "") -> dict[str, dict[str, Any]]:
    """Every file under a folder whose path within it begins with `prefix`, by that path, with the listing's details. Costs
    what is found, not what else lies there."""
    try:
        if is_local(fs):
            inner, _, start = prefix.rpartition("/")
            base = os.path.join(folder, inner) if inner else folder
            tops = (
                [os.path.join(base, name) for name in os.listdir(base) if name.startswith(start)]
                if start
                else [base]
            )
            found = {path: info for top in tops for path, info in fs.find(top, detail=True).items()}
        else:
            found = fs.find(folder, detail=True, withdirs=False, **({"prefix": prefix} if prefix else {}))
    except FileNotFoundError:
        return {}
    named = {path[len(folder) :].lstrip("/"): info for path, info in found.items() if path != folder}
    return {name: info for name, info in named.items() if name.startswith(prefix)}


def modified(info: dict[str, Any]) -> datetime:
    """When a listed file was last written (UTC)."""
    when = next(
        (
            info[name]
            for name in ("LastModified", "mtime", "last_modified", "created", "updated")
            if info.get(name)
        ),
        None,
    )
    if isinstance(when, str):
        when = datetime.fromisoformat(when)
    if isinstance(when, datetime):
        return when if when.tzinfo else when.replace(tzinfo=UTC)
    return datetime.fromtimestamp(float(when), UTC) if when is not None else datetime.now(UTC)


def put_whole(fs: FileSystem, path: str, data: bytes) -> None:
    """Write a small object so that it is seen whole or not at all, replacing what was there."""
    if not is_local(fs):
        fs.pipe_file(path, data)
        return
    temporary = _temporary(path)
    try:
        _write_synced(temporary, data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def create_exclusive(fs: FileSystem, path: str, data: bytes) -> bool:
    """Create an object unless it exists: True if `data` is what lies there now, False if another's bytes do.

    Put something of your own into `data` (an attempt's name): after a refusal, a time-out or a server error the object is
    read back and believed. On a store whose conditional put is not exclusive a later writer may still replace it.
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
    """As one step: a hard link of a finished file; where links cannot be made, O_EXCL."""
    temporary = _temporary(path)
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


def _temporary(path: str) -> Path:
    """A fresh name beside `path`, whose folder is made if need be."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    return target.with_name(f"{TEMPORARY}{uuid.uuid4().hex}")


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


class PendingObject(io.RawIOBase):
    """A large object being written: a binary file that hashes what it is given and is nowhere to be seen until `publish`."""

    def __init__(self, fs: FileSystem, path: str) -> None:
        self.fs, self.path, self.size = fs, path, 0
        self._sha256 = hashlib.sha256()
        if is_local(fs):
            self._name = str(_temporary(path))
        else:
            descriptor, self._name = tempfile.mkstemp(prefix="prag-")
            os.close(descriptor)
        self._file = Path(self._name).open("wb")  # noqa: SIM115

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self._file.write(view)
        self._sha256.update(view)
        self.size += len(view)
        return len(view)

    def tell(self) -> int:
        return self.size

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    def publish(self) -> None:
        """Make the object visible, whole."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        try:
            if is_local(self.fs):
                os.replace(self._name, self.path)
            else:
                self.fs.put_file(self._name, self.path)
        finally:
            self.discard()

    def discard(self) -> None:
        """Forget the object. Harmless after `publish`."""
        self._file.close()
        Path(self._name).unlink(missing_ok=True)
        self.close()


@contextlib.contextmanager
def storage_errors(doing: str, uri: str) -> Iterator[None]:
    """Turn what a file system or object store raises into a StorageError: what was done, where, what to do about it."""
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        advice = _advice(error, uri)
        if (
            isinstance(error, FileNotFoundError)
            and advice is None
            and doing.startswith(("writing", "creating"))
        ):
            advice = "the folder or bucket does not exist; create it, or correct the URI"
        if advice is None:
            raise
        raise StorageError(f"{doing} {uri}: {advice}") from error


def _advice(error: Exception, uri: str) -> str | None:
    """What a user can do about a storage error; None when it is not one."""
    text = (
        f"{type(error).__name__}: {error} {error.__cause__ or ''}"  # some servers give a code and no message
    )
    remote = "://" in uri and not uri.startswith("file:")
    if "NoCredentials" in text or "PartialCredentials" in text:
        return "no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    if "NoSuchBucket" in text or "bucket does not exist" in text:
        return "the bucket does not exist; create it, or correct the URI"
    if any(
        name in text
        for name in ("EndpointConnection", "ConnectTimeout", "ConnectionClosed", "Could not connect")
    ):
        return f"the server cannot be reached ({_first_line(error)}); check AWS_ENDPOINT_URL and the network"
    if isinstance(error, PermissionError) and remote:
        return f"refused ({_first_line(error)}); check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and their rights here"
    if isinstance(error, PermissionError):
        return "permission denied; choose a folder you may write to, or change its permissions"
    if isinstance(error, (NotADirectoryError, FileExistsError)):
        return f"a part of this path is a file, not a folder ({_first_line(error)})"
    if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
        return _first_line(error)
    return None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def remove(fs: FileSystem, root: str, names: Sequence[str]) -> None:
    """Remove files under `root`, in order, and local folders that this leaves empty. One that is gone already is no error."""
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            fs.rm_file(f"{root}/{name}")
    if is_local(fs):
        for folder in sorted({Path(root, name).parent for name in names}, reverse=True):
            while folder != Path(root):
                with contextlib.suppress(OSError):
                    folder.rmdir()
                folder = folder.parent


@dataclass(frozen=True)
class Upload:
    """A multipart upload that was begun and neither completed nor given up."""

    path: str
    upload_id: str
    started: datetime


def list_uploads(fs: FileSystem, root: str) -> list[Upload]:
    """Unfinished uploads under `root`: of S3 stores; other file systems have none."""
    if "s3" not in fs.protocol:
        return []
    bucket, key, _ = fs.split_path(root)
    found, more = [], {"KeyMarker": "", "UploadIdMarker": ""}
    while more:
        page = fs.call_s3(
            "list_multipart_uploads", Bucket=bucket, Prefix=f"{key}/", **{k: v for k, v in more.items() if v}
        )
        found += [
            Upload(f"{bucket}/{u['Key']}", u["UploadId"], u["Initiated"]) for u in page.get("Uploads", [])
        ]
        truncated = page.get("IsTruncated") and page.get("NextKeyMarker")
        more = (
            {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page.get("NextUploadIdMarker", "")}
            if truncated
            else {}
        )
    return found


def abort_upload(fs: FileSystem, upload: Upload) -> None:
    """Give an unfinished upload up. One that is gone already is no error."""
    bucket, key = upload.path.split("/", 1)
    with contextlib.suppress(FileNotFoundError):
        fs.call_s3("abort_multipart_upload", Bucket=bucket, Key=key, UploadId=upload.upload_id)
