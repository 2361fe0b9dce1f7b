"""Errors of file systems and object stores, turned into a StorageError that says what to do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from prag_core.errors import StorageError
from prag_core.storage.retries import is_away

UNREACHABLE = ("EndpointConnection", "ConnectTimeout", "ConnectionClosed", "Could not connect")


@contextlib.contextmanager
def storage_errors(doing: str, uri: str) -> Iterator[None]:
    """Turn the errors of a file system or object store into a StorageError: what was done, where, and what to do about it."""
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        advice = _advice(error, uri)
        if (
            advice is None
            and isinstance(error, FileNotFoundError)
            and doing.startswith(("writing", "creating"))
        ):
            advice = "the folder or bucket does not exist; create it, or correct the URI"
        if advice is None:
            raise
        raise StorageError(f"{doing} {uri}: {advice}") from error


def _advice(error: Exception, uri: str) -> str | None:
    """What a user can do about a storage error; None when it is not one."""
    causes: list[BaseException | None] = [error, error.__cause__, getattr(error.__cause__, "__cause__", None)]
    text = " ".join(f"{type(e).__name__}: {e}" for e in causes if e)  # some servers give a code only
    remote = "://" in uri and not uri.startswith("file:")
    if "NoCredentials" in text or "PartialCredentials" in text:
        return "no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    if "NoSuchBucket" in text or "bucket does not exist" in text:
        return "the bucket does not exist; create it, or correct the URI"
    if any(name in text for name in UNREACHABLE):
        return f"the server cannot be reached ({_first_line(error)}); check AWS_ENDPOINT_URL and the network"
    if remote and is_away(error):
        return f"the server does not answer ({_first_line(error)}); run the same again when it does"
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
