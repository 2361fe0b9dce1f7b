from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from prag_core.bank import Bank
from prag_core.errors import BankError, StorageError
from prag_core.storage import (
    PendingObject,
    create_exclusive,
    list_files,
    modified,
    open_root,
    put_whole,
    read,
    read_many,
    read_ranges,
    storage_errors,
)


def place(uri: str) -> tuple[Any, str]:
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

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise TimeoutError("no answer")

    monkeypatch.setattr(fs, "pipe_file", refuse)
    with pytest.raises(TimeoutError):
        create_exclusive(fs, path, b"ours")


def test_a_pending_object_is_seen_whole_or_not_at_all(bank_uri: str) -> None:
    fs, path = place(bank_uri)
    pending = PendingObject(fs, path)
    pending.write(b"some ")
    pending.write(memoryview(b"bytes"))
    assert not fs.exists(path)
    pending.publish()
    assert read(fs, path) == b"some bytes"
    assert (pending.size, pending.sha256) == (10, hashlib.sha256(b"some bytes").hexdigest())
    other = PendingObject(fs, path + "2")
    other.write(b"half")
    other.discard()
    assert list(list_files(fs, path.rsplit("/", 1)[0])) == ["object"]


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


def test_an_unknown_protocol_is_refused() -> None:
    with pytest.raises(StorageError, match="nosuch"):
        open_root("nosuch://bucket/bank")


def test_a_missing_bucket_says_so(s3_uri: str) -> None:
    with pytest.raises((StorageError, BankError), match="bucket does not exist"):
        Bank.open("s3://no-such-bucket-here/bank")


def test_wrong_credentials_say_so(s3_uri: str, world_bank: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import s3fs

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(StorageError, match="AWS_SECRET_ACCESS_KEY"):
        Bank.open(s3_uri)
    with pytest.raises(StorageError, match="AWS_SECRET_ACCESS_KEY"):
        world_bank(s3_uri)


def test_a_server_that_is_not_there_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import s3fs

    for name, value in {
        "ENDPOINT_URL": "http://127.0.0.1:9",
        "ACCESS_KEY_ID": "a",
        "SECRET_ACCESS_KEY": "b",
    }.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(StorageError, match="AWS_ENDPOINT_URL"):
        Bank.open("s3://bucket/bank")
    s3fs.S3FileSystem.clear_instance_cache()


def test_local_refusals_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="choose a folder"), storage_errors("writing", str(tmp_path)):
        raise PermissionError(13, "Permission denied")
    with pytest.raises(StorageError, match="No space left"), storage_errors("writing", str(tmp_path)):
        raise OSError(28, "No space left on device")
    with pytest.raises(KeyError), storage_errors("writing", str(tmp_path)):
        raise KeyError("a defect of ours")


@pytest.fixture
def world_bank() -> Any:
    from prag_core.identity import Recipe
    from prag_core.models.lora import AdapterLayout, ModuleShape
    from prag_core.models.lora import initial_factors as initial

    layout = AdapterLayout((ModuleShape("m", 2, 2),), 1, 1.0)
    return lambda uri: Bank.create(uri, Recipe({}), layout, initial(layout, 0))
