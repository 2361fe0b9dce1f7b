from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from prag_core.errors import StorageError
from prag_core.storage import (
    PendingObject,
    create_exclusive,
    leads_out,
    list_files,
    open_root,
    put_whole,
    read,
)
from prag_core.storage.local import temporary_path

FULL = 10_000  # bytes


@contextmanager
def full_disk() -> Iterator[None]:
    """The kernel refuses to make any file longer than FULL bytes, as a full disk does: here with "File too large".

    No fixture: pytest reports a test before it tears fixtures down, and its own output may be such a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (FULL, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_names_the_object_and_leaves_nothing(tmp_path: Path) -> None:
    fs, path = open_root(str(tmp_path / "folder" / "object"))
    for write in (put_whole, create_exclusive):
        with full_disk(), pytest.raises(StorageError, match=r"writing .*folder/object: .*too large"):
            write(fs, path, b"x" * (FULL + 1))
    pending = PendingObject(fs, path)
    with full_disk(), pytest.raises(StorageError, match=r"writing .*folder/object: .*too large"):
        for _ in range(3):
            pending.write(b"x" * FULL)
    pending.discard()
    assert not os.listdir(tmp_path / "folder")


def test_a_disk_that_is_full_only_when_the_buffer_is_written_leaves_nothing(
    tmp_path: Path,
) -> None:
    fs, path = open_root(str(tmp_path / "object"))
    for finish in (PendingObject.publish, PendingObject.discard):
        pending = PendingObject(fs, path)
        with full_disk():
            pending.write(b"x" * (FULL - 1))
            pending.write(b"yyy")  # waits in the buffer
            if finish is PendingObject.publish:
                with pytest.raises(StorageError, match=r"object: .*too large"):
                    pending.publish()
            pending.discard()
        assert not os.listdir(tmp_path)


def test_names_are_on_the_disk_before_anything_may_rest_on_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each new file, then its folder; the folders that were made, too."""
    synced: list[str] = []
    original = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        original(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    fs, root = open_root(str(tmp_path))
    put_whole(fs, f"{root}/new/deep/object", b"x")
    assert {root, f"{root}/new"} <= set(synced) and synced[-1] == f"{root}/new/deep"
    for write in (create_exclusive, put_whole):
        synced.clear()
        write(fs, f"{root}/new/{write.__name__}", b"x")
        assert len(synced) == 2 and synced[-1] == f"{root}/new"
    synced.clear()
    pending = PendingObject(fs, f"{root}/large")
    pending.publish()
    assert len(synced) == 2 and synced[-1] == root


def test_a_link_leads_out_if_what_it_names_lies_outside(tmp_path: Path) -> None:
    bank = tmp_path / "bank"
    for folder in ("bank/inside/deeper", "other"):
        (tmp_path / folder).mkdir(parents=True)
    (bank / "away").symlink_to(tmp_path / "other")
    (bank / "near").symlink_to(bank / "inside")
    (bank / "loop").symlink_to(bank / "loop")
    (tmp_path / "alias").symlink_to(bank)
    for root in (bank, tmp_path / "alias"):
        assert leads_out(str(root), "away") and leads_out(str(root), "away/x")
        assert not any(leads_out(str(root), path) for path in ("near/x", "inside/deeper/x", "none/x"))


def test_neither_a_pipe_nor_a_huge_range_of_a_small_file_is_waited_or_reserved_for(tmp_path: Path) -> None:
    fs, root = open_root(str(tmp_path))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a file"):
        read(fs, f"{root}/pipe")
    (tmp_path / "small").write_bytes(b"abc")
    assert read(fs, f"{root}/small", 1 << 60) == b"abc"
    assert set(list_files(fs, root)) == {"pipe", "small"}


def test_a_folder_that_others_remove_when_it_is_empty_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, removed = Path.mkdir, list[Path]()

    def mkdir(folder: Path, *arguments: Any, **options: Any) -> None:
        original(folder, *arguments, **options)
        if len(removed) < 2:
            folder.rmdir()
            removed.append(folder)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    temporary = temporary_path(str(tmp_path / "folder" / "file"))
    assert temporary.read_bytes() == b"" and removed == [tmp_path / "folder"] * 2


def test_without_hard_links_what_exists_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    fs, path = open_root(str(tmp_path / "object"))
    assert create_exclusive(fs, path, b"first")
    assert not create_exclusive(fs, path, b"second")
    assert read(fs, path) == b"first" and os.listdir(tmp_path) == ["object"]
