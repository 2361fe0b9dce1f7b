from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from prag_core.bank import catalog, tables
from prag_core.bank.catalog import CATALOG, Change, Part, merge, merge_rows, select_best
from prag_core.bank.layout import ObjectInfo


class Store:
    """Parts in memory."""

    def __init__(self) -> None:
        self.tables: dict[str, pa.Table] = {}
        self.reads = 0

    def write(self, rows: pa.Table) -> ObjectInfo:
        path = f"catalog/{len(self.tables)}"
        self.tables[path] = rows
        return ObjectInfo(path, rows.num_rows, 1, path)

    def read(self, part: Part) -> pa.Table:
        self.reads += 1
        return self.tables[part.info.path]

    def rows(self, parts: list[Part]) -> list[dict[str, Any]]:
        return [row for part in parts for row in self.tables[part.info.path].to_pylist()]


def adapters(shard: str, doc_ids: list[str], **columns: Any) -> pa.Table:
    """Rows as a commit of this shard gives them."""
    rows = [{"doc_id": d, "chunk": 0, "content_hash": f"h-{d}", **columns} for d in doc_ids]
    constant: dict[str, str | None] = {"status": "adapter", "adapter_object": f"adapters/{shard}.parquet"}
    return tables.index_rows(pa.Table.from_pylist(rows, pa.schema([*tables.WANTED])), constant)


def wanted(doc_ids: list[str]) -> pa.Table:
    return tables.wanted_table([(d, 0, f"h-{d}") for d in doc_ids])


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
    found = select_best(tables.index_rows(pa.Table.from_pylist(rows), {}))
    best: dict[Any, Any] = {}
    for row in rows:
        rank = (row["status"], row["adapter_object"] or "", -(row["attempts"] or 0), row["reason"])
        key = (row["doc_id"], row["chunk"], row["content_hash"])
        best[key] = min(best.get(key, (rank, row)), (rank, row), key=lambda ranked: ranked[0])
    expected = [best[key][1] for key in sorted(best)]
    assert [{name: row[name] for name in expected[0]} for row in found.to_pylist()] == expected


def test_a_rewriting_of_a_shard_takes_the_place_of_what_it_rewrote() -> None:
    attempts = ("s-0123456789abcdef", "s-fedcba9876543210", "s-00000000000000aa")
    rows = CATALOG.empty_table()
    for attempt in attempts:
        rows = merge_rows(rows, Change(rows=[adapters(attempt, ["a", "b"])]))
        assert set(rows["adapter_object"].to_pylist()) == {f"adapters/{attempt}.parquet"}


def test_parts_that_nothing_changes_are_neither_read_nor_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "PART_ROWS", 10)
    store, names = Store(), [f"d{n:03d}" for n in range(200)]
    parts = merge([], Change(rows=[adapters("s-1", names)], wanted=wanted(names)), store.read, store.write)
    assert len(parts) > 10 and all(part.info.rows <= 20 for part in parts)
    store.reads = 0
    after = merge(parts, Change(rows=[adapters("s-2", ["d055x"])]), store.read, store.write)
    assert store.reads == 1 and len(set(parts) - set(after)) == 1
    assert [row["doc_id"] for row in store.rows(after)] == sorted([*names, "d055x"])


@pytest.mark.parametrize("seed", range(5))
def test_a_catalog_in_parts_holds_what_one_table_would(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "PART_ROWS", 7)
    draw = np.random.default_rng(seed)
    store, parts = Store(), list[Part]()
    committed: set[str] = set()
    current: set[str] = set()
    for number in range(1, 12):
        new = [f"{draw.integers(60)}" for _ in range(int(draw.integers(0, 15)))]
        committed |= set(new)
        corpus = None
        if draw.integers(2):
            corpus = [f"{n}" for n in range(60) if draw.integers(2)]
            current = committed & set(corpus)
        change = Change(
            rows=[adapters(f"s{number}-x", new)],
            wanted=None if corpus is None else wanted(corpus),
            number=number,
        )
        parts = merge(parts, change, store.read, store.write)
        rows = store.rows(parts)
        assert [row["doc_id"] for row in rows] == sorted(committed)
        assert {row["doc_id"] for row in rows if row["current"]} == current
        assert sum(sum(part.counts) for part in parts) == len(current)
        assert [part.first for part in parts] == sorted(part.first for part in parts)


def test_what_leaves_the_corpus_keeps_the_number_at_which_it_left() -> None:
    rows = merge_rows(
        CATALOG.empty_table(), Change(rows=[adapters("s-1", ["a", "b", "c"])], wanted=wanted(["a", "b"]))
    )
    rows = merge_rows(rows, Change(wanted=wanted(["a"]), number=5))
    rows = merge_rows(rows, Change(wanted=wanted(["a"]), number=6))
    assert rows["current"].to_pylist() == [True, False, False]
    assert rows["left"].to_pylist() == [None, 5, None]  # c was never current: its run has not published yet
    rows = merge_rows(rows, Change(settled=True, number=7))
    assert rows["left"].to_pylist() == [None, 5, 7]


def test_erasing_spares_what_is_current_unless_its_document_is_deleted() -> None:
    rows = merge_rows(
        CATALOG.empty_table(), Change(rows=[adapters("s-1", ["a", "b", "c"])], wanted=wanted(["a", "b"]))
    )
    change = Change(erased=wanted(["a", "b", "c"]), deleted={"b"})
    assert merge_rows(rows, change)["doc_id"].to_pylist() == ["a"]


def test_a_document_is_never_cut_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "PART_ROWS", 4)
    rows = [{"doc_id": d, "chunk": n, "content_hash": f"{n}"} for d in "abc" for n in range(9)]
    table = tables.index_rows(pa.Table.from_pylist(rows, tables.WANTED), {"status": "adapter"})
    store = Store()
    parts = merge([], Change(rows=[table]), store.read, store.write)
    assert [part.info.rows for part in parts] == [9, 9, 9] and [part.first for part in parts] == [
        "a",
        "b",
        "c",
    ]
