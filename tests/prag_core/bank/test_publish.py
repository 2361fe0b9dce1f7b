from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from prag_core.bank import Bank, Snapshot, delete_documents, publish, tables
from prag_core.bank.publish import select_rows
from prag_core.errors import BankError
from tests.prag_core.bank.world import Filled, World


def test_a_deletion_is_not_lost_to_a_run_that_races_it(
    filled: Filled, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run has read the newest snapshot; before it writes its own, a deletion gets in with the same number."""
    original = publish._place
    raced: list[bool] = []

    def place(bank: Bank, manifest: dict[str, Any], index: bytes) -> Snapshot:
        if not raced:
            raced.append(True)
            delete_documents(bank, ["a"])
        return original(bank, manifest, index)

    monkeypatch.setattr(publish, "_place", place)
    filled.bank.write_snapshot(world.wanted(filled.documents[:2]))
    newest = filled.bank.require_snapshot()
    assert set(newest.deleted) == {"a"} and set(newest.lookup([("a", 0), ("b", 0), ("c", 0)])) == {("b", 0)}


def test_a_run_that_is_overtaken_for_ever_gives_up(
    filled: Filled, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "MOST_ROUNDS", 2)
    monkeypatch.setattr(publish, "_counts", lambda *snapshots: False)
    corpora = iter([world.wanted(filled.documents[:1]), world.wanted(filled.documents[:2])])
    with pytest.raises(BankError, match="2 snapshots in a row were overtaken"):
        publish.publish(filled.bank, lambda parent, tombstones: next(corpora))


def test_rows_are_selected_as_a_plain_loop_would() -> None:
    draw = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for number in range(400):
        status = ["adapter", "failed"][int(draw.integers(2))]
        rows.append(
            {
                "doc_id": f"d{draw.integers(40)}",
                "chunk": int(draw.integers(2)),
                "content_hash": f"h{draw.integers(2)}",
                "status": status,
                "adapter_object": f"o{number}" if status == "adapter" else None,
                "attempts": None if status == "adapter" else int(draw.integers(5)),
                "reason": f"r{number}",
            }
        )
    wanted = [
        {"doc_id": f"d{i}", "chunk": c, "content_hash": f"h{(i + c) % 2}"} for i in range(60) for c in (0, 1)
    ]
    found = select_rows(
        tables.index_rows(pa.Table.from_pylist(rows), {}), pa.Table.from_pylist(wanted, tables.WANTED)
    )

    best: dict[Any, Any] = {}
    for row in rows:
        if {name: row[name] for name in ("doc_id", "chunk", "content_hash")} in wanted:
            rank = (row["status"], row["adapter_object"] or "", -(row["attempts"] or 0), row["reason"])
            key = (row["doc_id"], row["chunk"])
            best[key] = min(best.get(key, (rank, row)), (rank, row), key=lambda ranked: ranked[0])
    expected = [best[key][1] for key in sorted(best)]
    assert [{name: row[name] for name in expected[0]} for row in found.to_pylist()] == expected
