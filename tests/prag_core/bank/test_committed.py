from __future__ import annotations

from pathlib import Path

import pytest

from prag_core.bank.committed import read_committed
from tests.prag_core.bank.world import Filled, World


def test_a_damaged_commit_is_passed_over_and_named_and_the_others_are_read(
    filled: Filled, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    new = world.documents(["shard2", "shard3"])
    for document in new:
        shard = document.doc_id
        world.train(filled.bank, shard, [document], world.augment(filled.bank, shard, [document]).objects)
    rows = next(Path(filled.bank.root, "rows").glob("shard2-*"))
    rows.write_bytes(rows.read_bytes()[:-1] + b"\0")
    snapshot = filled.bank.write_snapshot(world.wanted([*filled.documents, *new]))
    assert set(snapshot.lookup([("shard2", 0), ("shard3", 0), ("a", 0)])) == {("shard3", 0), ("a", 0)}
    assert rows.name in caplog.text and "passed over" in caplog.text


def test_commits_that_are_known_are_not_read_again(filled: Filled) -> None:
    (everything,) = read_committed(filled.bank)
    assert {doc_id for rows in everything.rows for doc_id in rows["doc_id"].to_pylist()} == set("abcd")
    assert list(read_committed(filled.bank, filled.bank.require_snapshot().commits)) == []
