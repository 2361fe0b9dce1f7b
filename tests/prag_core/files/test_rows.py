"""Rows come with their places; one that cannot be read is rejected alone, and the rows after it follow."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prag_core.errors import CorpusError
from prag_core.files.rows import (
    Rejected,
    Row,
    excerpt,
    read_json_list,
    read_jsonl,
    read_parquet,
    read_tsv,
    refuse_rejected,
)


def parquet(table: pa.Table) -> io.BytesIO:
    stream = io.BytesIO()
    pq.write_table(table, stream)
    stream.seek(0)
    return stream


def unchecked_text(*values: bytes) -> pa.Array:
    """A text column of any bytes: Parquet writers do not check."""
    return pa.Array.from_buffers(pa.string(), len(values), pa.array(values, pa.binary()).buffers())


def test_a_broken_line_is_rejected_with_its_place_and_the_next_lines_follow() -> None:
    lines = b'{"a": 1}\n{broken\n\n[1]\n{"a": "caf\xe9"}\n{"a": 2}\n'
    rows = list(read_jsonl(io.BytesIO(lines), "f"))
    assert [row.place for row in rows] == [f"f line {n}" for n in (1, 2, 4, 5, 6)]
    assert [row.fields for row in rows if isinstance(row, Row)] == [{"a": 1}, {"a": 2}]
    reasons = [row.reason for row in rows if isinstance(row, Rejected)]
    for reason, expected in zip(reasons, ("not JSON", "expected a JSON object", "not UTF-8"), strict=True):
        assert expected in reason


def test_a_file_that_ends_inside_a_line_is_refused_for_the_rest_is_missing() -> None:
    with pytest.raises(CorpusError, match=r"f line 2: not JSON.*is it complete"):
        list(read_jsonl(io.BytesIO(b'{"a": 1}\n{"a": "cut o'), "f"))
    assert len(list(read_jsonl(io.BytesIO(b'{"a": 1}\n{"a": 2}'), "f"))) == 2


def test_a_text_value_that_is_not_utf8_rejects_its_row_alone() -> None:
    table = pa.table({"id": ["a", "b", "c"], "text": unchecked_text(b"ok", b"caf\xe9", b"fine")})
    rows = list(read_parquet(parquet(table), "f.parquet"))
    assert [row.place for row in rows] == ["f.parquet row 1", "f.parquet row 2", "f.parquet row 3"]
    assert isinstance(rows[1], Rejected) and "text is not UTF-8" in rows[1].reason
    assert [row.fields["text"] for row in rows if isinstance(row, Row)] == ["ok", "fine"]


@pytest.mark.parametrize(
    "values",
    [
        pa.array([0, 10**17, 0], pa.timestamp("ms")),
        pa.array([0, 2**31 - 1, 0], pa.date32()),
        pa.array([0, 2**62, 0], pa.duration("s")),
    ],
)
def test_a_value_that_python_cannot_hold_rejects_its_row_alone(values: pa.Array) -> None:
    rows = list(read_parquet(parquet(pa.table({"id": ["a", "b", "c"], "when": values})), "f.parquet"))
    assert [isinstance(row, Rejected) for row in rows] == [False, True, False]
    assert str(rows[1]).startswith("f.parquet row 2: when has a value that Python cannot hold")


def test_values_that_python_can_hold_are_kept() -> None:
    when = datetime(2020, 1, 2, tzinfo=UTC)
    table = pa.table({"id": [1], "when": pa.array([when], pa.timestamp("us", "UTC")), "bytes": [b"\xff"]})
    (row,) = read_parquet(parquet(table), "f")
    assert isinstance(row, Row) and row.fields == {"id": 1, "when": when, "bytes": b"\xff"}


def test_two_columns_of_one_name_are_refused_for_one_would_hide_the_other() -> None:
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], ["id", "id"])
    with pytest.raises(CorpusError, match="f: more than one column is named id"):
        list(read_parquet(parquet(table), "f"))


def test_a_tsv_row_of_the_wrong_length_or_encoding_is_rejected_alone() -> None:
    lines = b"id\ttext\na\tx\nb\nc\tcaf\xe9\nd\ty\n"
    rows = list(read_tsv(io.BytesIO(lines), "f", lambda columns, place: columns))
    assert [row.fields["id"] for row in rows if isinstance(row, Row)] == ["a", "d"]
    assert [str(row)[:9] for row in rows if isinstance(row, Rejected)] == ["f line 3:", "f line 4:"]


def test_a_tsv_header_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(CorpusError, match="f line 1: not UTF-8"):
        list(read_tsv(io.BytesIO(b"id\tcaf\xe9\n"), "f", lambda columns, place: columns))


def test_an_item_of_a_list_that_is_no_object_is_rejected_alone() -> None:
    rows = list(read_json_list(io.BytesIO(b'[{"a": 1}, 7, {"a": 2}]'), "f"))
    assert [isinstance(row, Rejected) for row in rows] == [False, True, False]
    assert str(rows[1]) == "f record 2: expected a JSON object, found 7"


def test_a_caller_that_needs_every_row_gets_the_first_rejected_one_as_an_error() -> None:
    rows = refuse_rejected([Row("f line 1", {"a": 1}), Rejected("f line 2", "not JSON")])
    assert next(rows).fields == {"a": 1}
    with pytest.raises(CorpusError, match=r"f line 2: not JSON"):
        next(rows)


def test_an_excerpt_is_short_json_whatever_the_value() -> None:
    assert excerpt(None) == "missing" and excerpt("x") == '"x"'
    assert len(excerpt("x" * 1000)) == 80 and excerpt({"d": datetime(2020, 1, 1)}).startswith('{"d": "2020')


def test_what_is_no_text_is_shown_as_one_printable_line() -> None:
    (row,) = read_jsonl(io.BytesIO(b"\x00{\x1b[31m\x00\x07\n"), "f")
    assert isinstance(row, Rejected) and row.reason.isprintable()


@given(st.binary(max_size=200))
def test_any_bytes_are_rows_or_rejected_or_a_corpus_error(data: bytes) -> None:
    def columns(names: list[str], place: str) -> list[str]:
        return names

    for read in (read_jsonl, read_json_list, lambda stream, name: read_tsv(stream, name, columns)):
        try:
            rows = list(read(io.BytesIO(data), "f"))
        except CorpusError as error:
            assert str(error).startswith("f")
        else:
            assert all(row.place.startswith("f ") for row in rows)
