"""Open a file on any fsspec file system, decompressed as its name says, and report what cannot be read by name."""

from __future__ import annotations

import io
import lzma
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO, TypeVar, cast

import fsspec
import pyarrow as pa

from prag_core.errors import CorpusError
from prag_core.storage import storage_errors

COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".zst": "zstd"}
UNREADABLE = (OSError, EOFError, zlib.error, lzma.LZMAError, pa.ArrowException)
Item = TypeVar("Item")
Reader = Callable[[IO[bytes], str], Iterator[Item]]  # (a file's bytes, its name) → items


def read_file(
    fs: fsspec.AbstractFileSystem, path: str, reader: Reader[Item], *, seekable: bool = False
) -> Iterator[Item]:
    """Yield what `reader` makes of one file. With `seekable` a compressed file is first unpacked to a temporary one.

    Raises CorpusError naming the file if it cannot be read.
    """
    name = display(fs, path)
    try:
        with storage_errors("reading", name), fs.open(path, "rb") as raw:
            yield from reader(_decompress(raw, path, seekable=seekable), name)
    except CorpusError:
        raise
    except UNREADABLE as error:
        text = getattr(error, "strerror", None) or str(error)
        reason = text.rpartition(f"{name}: ")[2] or type(error).__name__
        raise CorpusError(f"{name}: cannot be read: {reason}") from None


def display(fs: fsspec.AbstractFileSystem, path: str) -> str:
    """A path as the user would write it: local ones bare, others with their protocol."""
    protocol = fs.protocol if isinstance(fs.protocol, str) else fs.protocol[0]
    return path if protocol in ("file", "local") else str(fs.unstrip_protocol(path))


def split_compression(path: str) -> tuple[str, str | None]:
    """A file's name without its compression suffix, and the compression (None: none)."""
    for suffix, compression in COMPRESSIONS.items():
        if path.lower().endswith(suffix):
            return path[: -len(suffix)], compression
    return path, None


def _decompress(raw: IO[bytes], path: str, *, seekable: bool) -> IO[bytes]:
    _, compression = split_compression(path)
    if compression is None:
        return raw
    if compression == "zstd":  # fsspec needs another package for it; Arrow has it built in
        zstd = pa.CompressedInputStream(pa.PythonFile(raw, "r"), "zstd")
        stream = cast(IO[bytes], io.BufferedReader(cast(io.RawIOBase, zstd)))
    else:
        stream = cast(IO[bytes], fsspec.compression.compr[compression](raw, mode="rb"))
    if not seekable:
        return stream
    unpacked = tempfile.TemporaryFile()  # noqa: SIM115  (closed when the reader drops it)
    shutil.copyfileobj(stream, unpacked)
    return unpacked
