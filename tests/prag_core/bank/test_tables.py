from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from prag_core.bank import tables
from prag_core.errors import CorruptBankError
from tests.prag_core.bank.world import World


def test_records_of_any_id_come_back_from_parquet(world: World) -> None:
    documents = world.documents(world.odd_ids)
    table = tables.from_parquet(tables.to_parquet(tables.documents_table(documents)), "documents")
    assert list(tables.documents_of(table)) == documents
    augmentations = [world.augmentation(document) for document in documents]
    table = tables.from_parquet(tables.to_parquet(tables.augmentations_table(augmentations)), "augmentations")
    assert list(tables.augmentations_of(table)) == augmentations
    failures = [world.failure(document) for document in documents]
    table = tables.from_parquet(tables.to_parquet(tables.failures_table(failures)), "failures")
    assert list(tables.failures_of(table)) == failures


def test_bytes_that_are_no_parquet_are_named() -> None:
    data = tables.to_parquet(tables.wanted_table([("a", 0, "h")]))
    for damaged in (b"", b"text", data[:-1]):
        with pytest.raises(CorruptBankError, match="some/object"):
            tables.from_parquet(damaged, "some/object")


def test_keys_that_look_alike_are_told_apart() -> None:
    rows = tables.wanted_table([("a", 1, "h"), ("a\x001", 1, "h"), ("a", 11, "h"), ("", 1, "h")])
    for number in range(rows.num_rows):
        among = tables.is_among(rows, rows.slice(number, 1)).to_pylist()
        assert among == [other == number for other in range(rows.num_rows)]


def test_rows_are_grouped_as_a_plain_loop_would() -> None:
    draw = np.random.default_rng(0)
    parts = [[f"o{draw.integers(5)}" for _ in range(20)] for _ in range(3)]
    names = [name for part in parts for name in part]
    column = pa.chunked_array([pa.array(part).dictionary_encode().cast(tables.NAME) for part in parts])
    expected = {name: [i for i, other in enumerate(names) if other == name] for name in set(names)}
    assert {name: rows.tolist() for name, rows in tables.group_rows(column).items()} == expected
    assert tables.group_rows(column.slice(0, 0)) == {}


def test_statuses_are_counted_those_without_a_document_too() -> None:
    index = tables.index_rows(tables.wanted_table([("a", 0, "h"), ("b", 0, "h")]), {"status": "text_only"})
    assert tables.count_statuses(index) == {"adapter": 0, "text_only": 2, "failed": 0}
    assert tables.count_statuses(index.slice(0, 0)) == {"adapter": 0, "text_only": 0, "failed": 0}
