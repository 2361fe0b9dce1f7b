"""A file is opened on any file system, decompressed as its name says, and named when it cannot be read."""

from __future__ import annotations

import gzip
import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import fsspec
import pytest

from prag_core.errors import CorpusError
from prag_core.files.opening import display, read_file, split_compression


def whole(stream: IO[bytes], name: str) -> Iterator[tuple[str, bytes]]:
    yield name, stream.read()


def test_a_file_is_decompressed_as_its_name_says(tmp_path: Path) -> None:
    fs = fsspec.filesystem("file")
    for name, data in (("a.txt", b"x"), ("a.txt.gz", gzip.compress(b"x")), ("A.TXT.XZ", lzma.compress(b"x"))):
        (tmp_path / name).write_bytes(data)
        assert list(read_file(fs, f"{tmp_path}/{name}", whole)) == [(f"{tmp_path}/{name}", b"x")]


def test_a_reader_that_needs_to_seek_can(tmp_path: Path) -> None:
    def backwards(stream: IO[bytes], name: str) -> Iterator[bytes]:
        stream.seek(-1, 2)
        yield stream.read()

    (tmp_path / "a.gz").write_bytes(gzip.compress(b"xyz"))
    assert list(read_file(fsspec.filesystem("file"), f"{tmp_path}/a.gz", backwards, seekable=True)) == [b"z"]


def test_what_cannot_be_read_is_named_once(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(b"no gzip")
    for name in ("a.gz", "none.gz"):
        with pytest.raises(CorpusError, match=rf"^{tmp_path}/{name}: cannot be read: ") as error:
            list(read_file(fsspec.filesystem("file"), f"{tmp_path}/{name}", whole))
        assert str(error.value).count(name) == 1


def test_local_paths_are_shown_bare_and_others_with_their_protocol() -> None:
    assert display(fsspec.filesystem("file"), "/a/b") == "/a/b"
    assert display(fsspec.filesystem("memory"), "/a/b").startswith("memory://")
    assert (
        split_compression("x/c.JSONL.GZ") == ("x/c.JSONL", "gzip")
        and split_compression("c.gz.txt")[1] is None
    )
