from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import fsspec
import pytest
import s3fs

from prag_core.bank import Bank, Stage
from prag_core.errors import StorageError
from prag_core.storage import FileSystem, patience, put_whole, read_many, retried, storage_errors
from prag_core.storage.objects import S3_CONFIG
from tests.prag_core.bank.world import World
from tests.prag_core.storage.proxy import Proxy

AWAY = 5.0  # seconds


class Flaky:
    """An action that fails so many times, and then gives 7."""

    def __init__(self, times: int, error: Exception) -> None:
        self.times, self.error, self.calls = times, error, 0

    def __call__(self) -> int:
        self.calls += 1
        if self.calls <= self.times:
            raise self.error
        return 7


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> FileSystem:
    """A store that has answered this process."""
    monkeypatch.setattr("prag_core.storage.retries.FIRST_WAIT", 0.01)
    fs = fsspec.filesystem("memory", skip_instance_cache=True)
    retried(fs, lambda: None)
    return fs


def test_a_store_that_is_away_is_waited_for_and_that_is_said_once(
    answering: FileSystem, caplog: pytest.LogCaptureFixture
) -> None:
    action = Flaky(4, ConnectionResetError("gone"))
    assert retried(answering, action) == 7 and action.calls == 5
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert "does not answer (gone); retrying until" in caplog.messages[0] and "again" in caplog.messages[1]


def test_patience_ends(answering: FileSystem) -> None:
    action = Flaky(1000, TimeoutError("silent"))
    with patience(0.1), pytest.raises(TimeoutError):
        retried(answering, action)
    assert 1 < action.calls < 50


def test_an_answer_is_believed_at_once(answering: FileSystem) -> None:
    action = Flaky(1, PermissionError("no"))
    with pytest.raises(PermissionError):
        retried(answering, action)
    assert action.calls == 1


def test_a_store_that_never_answered_is_an_error_at_once() -> None:
    action = Flaky(1, ConnectionRefusedError("nobody"))
    with pytest.raises(ConnectionRefusedError):
        retried(fsspec.filesystem("memory", skip_instance_cache=True), action)
    assert action.calls == 1


@pytest.fixture
def proxy(s3_uri: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy before each of the servers, between them and this process; short time-outs."""
    monkeypatch.setitem(S3_CONFIG, "read_timeout", 0.5)
    monkeypatch.setitem(S3_CONFIG, "connect_timeout", 0.5)
    monkeypatch.setattr("prag_core.storage.retries.SILENCE", 0.5)
    with Proxy(os.environ["AWS_ENDPOINT_URL"]) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        s3fs.S3FileSystem.clear_instance_cache()
        yield proxy
        s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.parametrize("mode", ["refuse", "hang"])
def test_a_store_that_goes_away_costs_no_trained_shard(
    proxy: Proxy, mode: str, s3_uri: str, caplog: pytest.LogCaptureFixture
) -> None:
    world = World()
    bank = world.bank(s3_uri)
    documents = world.documents("ab")
    with bank.begin(Stage.adapters, "shard0") as writer:
        for number, document in enumerate(documents):
            writer.add(world.adapter(document, number))
        proxy.go_away("refuse" if mode == "refuse" else "hang", AWAY)
        commit = writer.commit()
    assert bank.find_commit(Stage.adapters, "shard0") == commit
    assert sum("does not answer" in message for message in caplog.messages) == 1


def test_a_hung_store_is_an_error_when_patience_is_over(proxy: Proxy, s3_uri: str) -> None:
    bank = World().bank(s3_uri)
    proxy.go_away("hang", 60)
    with patience(0), pytest.raises(StorageError, match=r"cannot be reached|does not answer"):
        Bank.open(bank.uri)


def test_of_many_reads_only_those_that_failed_are_repeated(
    answering: FileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [f"/retries/{number}" for number in range(5)]
    for path in paths:
        put_whole(answering, path, path.encode())
    asked: list[str] = []
    original = answering.cat_file

    def cat_file(path: str, start: int | None = None, end: int | None = None) -> bytes:
        asked.append(path)
        if path == paths[3] and asked.count(path) == 1:
            raise ConnectionResetError("gone")
        return bytes(original(path, start, end))

    monkeypatch.setattr(answering, "cat_file", cat_file)
    assert read_many(answering, paths) == [path.encode() for path in paths]
    assert asked == [*paths, paths[3]]


def test_a_server_that_stays_silent_is_named() -> None:
    with (
        pytest.raises(StorageError, match=r"s3://bucket.*does not answer"),
        storage_errors("reading", "s3://bucket"),
    ):
        raise TimeoutError("silent")
