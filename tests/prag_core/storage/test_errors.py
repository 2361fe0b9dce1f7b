from __future__ import annotations

from pathlib import Path

import pytest
import s3fs

from prag_core.bank import Bank
from prag_core.errors import BankError, StorageError
from prag_core.identity import Recipe
from prag_core.models.lora import AdapterLayout, ModuleShape, initial_factors
from prag_core.storage import storage_errors


def create_bank(uri: str) -> Bank:
    layout = AdapterLayout((ModuleShape("m", 2, 2),), 1, 1.0)
    return Bank.create(uri, Recipe({}), layout, initial_factors(layout, 0))


def test_a_missing_bucket_says_so(s3_uri: str) -> None:
    with pytest.raises((StorageError, BankError), match="bucket does not exist"):
        Bank.open("s3://no-such-bucket-here/bank")


def test_wrong_credentials_say_so(s3_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(StorageError, match="AWS_SECRET_ACCESS_KEY"):
        Bank.open(s3_uri)
    with pytest.raises(StorageError, match="AWS_SECRET_ACCESS_KEY"):
        create_bank(s3_uri)


def test_a_server_that_is_not_there_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "ENDPOINT_URL": "http://127.0.0.1:9",
        "ACCESS_KEY_ID": "a",
        "SECRET_ACCESS_KEY": "b",
    }.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")  # botocore waits between attempts
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
