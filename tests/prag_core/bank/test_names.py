from __future__ import annotations

import re

import pytest

from prag_core.bank.layout import (
    ObjectInfo,
    index_path,
    initial_path,
    new_attempt,
    object_path,
    retrieval_files,
    retrieval_folder,
    rows_path,
)
from prag_core.bank.names import INDEX_FILE, OBJECT, RUN, SHARD_ID, checked
from prag_core.errors import CorruptBankError
from prag_core.identity import shard_id

SNAPSHOT, SHA256 = "00000007-0123456789abcdef", "0" * 64
OUTSIDE = [
    "/etc/passwd",
    "../x",
    "documents/../../x",
    "a/b",
    "",
    ".",
    "..",
    "a\\..\\b",
    "a\n",
    "a\0",
    "ä",
    "٣",
]


def test_every_path_that_the_layout_makes_is_a_name_of_a_bank() -> None:
    adapters = object_path("adapters", shard_id(["a"]), new_attempt())
    files = retrieval_files(retrieval_folder(SNAPSHOT, "0123456789abcdef"), new_attempt())
    for path in (
        adapters,
        rows_path(adapters),
        initial_path(SHA256),
        index_path(SNAPSHOT),
        f"{files}/documents.arrow",
        f"{files}/stop.indptr.npy",
    ):
        assert checked(path, OBJECT, "here") == path


@pytest.mark.parametrize("pattern", [OBJECT, SHARD_ID, RUN, INDEX_FILE])
@pytest.mark.parametrize("name", OUTSIDE)
def test_no_name_leaves_the_bank(pattern: re.Pattern[str], name: str) -> None:
    with pytest.raises(CorruptBankError, match=r"commits/x\.json"):
        checked(name, pattern, "commits/x.json")


@pytest.mark.parametrize(
    "change",
    [
        *({"path": path} for path in OUTSIDE),
        {"path": 3},
        {"rows": -1},
        {"bytes": 1 << 40},
        {"bytes": True},
        {"rows": 1.0},
        {"sha256": "0" * 63},
        {"more": 1},
    ],
    ids=str,
)
def test_an_object_is_described_as_a_bank_does_or_refused(change: dict[str, object]) -> None:
    path = object_path("documents", "shard0", new_attempt())
    fields: dict[str, object] = {"path": path, "rows": 1, "bytes": 2, "sha256": SHA256}
    assert ObjectInfo.from_fields(fields, "here") == ObjectInfo(path, 1, 2, SHA256)
    with pytest.raises(CorruptBankError, match="manifest"):
        ObjectInfo.from_fields(fields | change, "manifest.json")
    others: tuple[object, ...] = (None, [], "text", {})
    for other in others:
        with pytest.raises(CorruptBankError, match="manifest"):
            ObjectInfo.from_fields(other, "manifest.json")
