from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from prag_core.errors import StorageError
from prag_core.storage import (
    FileSystem,
    create_exclusive,
    list_files,
    modified,
    open_root,
    patience,
    put_whole,
    read,
    read_many,
    read_ranges,
)


def place(uri: str) -> tuple[FileSystem, str]:
    fs, root = open_root(uri)
    return fs, f"{root}/object"


def test_a_created_object_keeps_its_first_content(bank_uri: str) -> None:
    fs, path = place(bank_uri)
    assert create_exclusive(fs, path, b"first")
    assert not create_exclusive(fs, path, b"second")
    assert read(fs, path) == b"first"


def test_of_raced_creates_at_least_one_wins_and_what_lies_there_is_whole(bank_uri: str) -> None:
    fs, path = place(bank_uri)
    contents = [f"writer {number}".encode() * 50 for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        won = list(pool.map(lambda data: create_exclusive(fs, path, data), contents))
    assert any(won) and read(fs, path) in contents
    if not bank_uri.startswith("s3"):
        assert sum(won) == 1 and read(fs, path) == contents[won.index(True)]


@pytest.mark.parametrize(
    "error", [FileExistsError(), OSError(22, "pre-conditions"), TimeoutError(), OSError(121, "5xx")]
)
def test_after_a_doubtful_answer_what_lies_there_is_believed(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    fs, path = place("memory://bank-doubt")
    original = fs.pipe_file

    def written_but_unconfirmed(path: str, data: bytes, mode: str = "overwrite") -> None:
        if not fs.exists(path):
            original(path, data)
        raise error

    monkeypatch.setattr(fs, "pipe_file", written_but_unconfirmed)
    path += type(error).__name__ + str(error.errno if isinstance(error, OSError) else "")
    assert create_exclusive(fs, path, b"ours")
    assert not create_exclusive(fs, path, b"theirs")


def test_an_error_that_left_nothing_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    fs, path = place("memory://bank-nothing")

    def refuse(*args: object, **kwargs: object) -> None:
        raise TimeoutError("no answer")

    monkeypatch.setattr(fs, "pipe_file", refuse)
    with pytest.raises(TimeoutError), patience(0):
        create_exclusive(fs, path, b"ours")


def test_listings_are_never_stale(bank_uri: str) -> None:
    fs, path = place(bank_uri)
    folder = path.rsplit("/", 1)[0]
    assert list_files(fs, folder) == {}
    for count, name in enumerate(["a", "b/c"], 1):
        put_whole(fs, f"{folder}/{name}", b"x")
        found = list_files(fs, folder)
        assert len(found) == count and name in found and list(list_files(fs, folder, name)) == [name]
    assert abs(datetime.now(UTC) - modified(found["a"])) < timedelta(minutes=5)


def test_ranges_of_several_objects_are_read_in_order(bank_uri: str) -> None:
    fs, path = place(bank_uri)
    for name in ("1", "2"):
        put_whole(fs, path + name, name.encode() * 10)
    assert read_ranges(fs, [path + "2", path + "1"], [2, 0], [5, 1]) == [b"222", b"1"]
    assert read_many(fs, [path + "1", path + "2"]) == [b"1" * 10, b"2" * 10]
    with pytest.raises(FileNotFoundError) as caught:
        read_many(fs, [path + "1", path + "missing"])
    assert "missing" in str(caught.value.filename)


def test_a_range_beyond_the_end_gives_what_there_is(bank_uri: str) -> None:
    """On every store: a short or an empty object is for the caller to notice, and to name."""
    fs, path = place(bank_uri)
    put_whole(fs, path, b"short")
    put_whole(fs, f"{path}-empty", b"")
    assert read_ranges(fs, [path, path, f"{path}-empty"], [3, 9, 4], [90, 12, 9]) == [b"rt", b"", b""]
    assert (
        read(fs, f"{path}-empty") == b""
        and read(fs, path, 2) == b"sh"
        and read(fs, path, 1 << 40) == b"short"
    )


def test_an_unknown_protocol_is_refused() -> None:
    with pytest.raises(StorageError, match="nosuch"):
        open_root("nosuch://bucket/bank")
