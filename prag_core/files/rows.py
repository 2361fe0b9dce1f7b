"""Readers of rows: JSON lines, JSON lists, TSV with a header, and Parquet.

A row is a mapping of fields with its place in the file. A row that cannot be read on its own (a line that is no JSON, a value
that is not UTF-8) becomes a `Rejected`, and the rows after it follow: the caller decides whether to go on (a corpus) or to stop
(`refuse_rejected`). Damage after which the following rows cannot be found is a CorpusError that names the file.
At most one batch of rows is held at a time, except for JSON lists, which are read whole.
"""

from __future__ import annotations

import codecs
import csv
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from prag_core.errors import CorpusError
from prag_core.files.opening import UNREADABLE

BATCH_ROWS = 1024
EXCERPT_CHARACTERS = 80
NOT_UTF8 = "not UTF-8 text; convert the file to UTF-8"
ESCAPED_BYTE = re.compile("[\udc80-\udcff]")  # a byte that is not UTF-8, as "surrogateescape" decodes it
UNCONVERTIBLE = (
    ValueError,
    TypeError,
    OverflowError,
    pa.ArrowException,
)  # Arrow values without a Python form


@dataclass(frozen=True, slots=True)
class Row:
    """One entry of a file; `place` names it in messages: "file line 3", counted from 1."""

    place: str
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that cannot be used, and why."""

    place: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


Rows = Iterator[Row | Rejected]
CheckHeader = Callable[
    [list[str], str], list[str]
]  # (column names, place) → column names; raises CorpusError


def refuse_rejected(rows: Iterable[Row | Rejected]) -> Iterator[Row]:
    """Yield the rows; raise a CorpusError at the first rejected one."""
    for row in rows:
        if isinstance(row, Rejected):
            raise CorpusError(str(row))
        yield row


def read_jsonl(stream: IO[bytes], name: str) -> Rows:
    """One JSON object a line; blank lines are skipped. Raises CorpusError if the last line breaks off."""
    for place, line in _lines(stream, name):
        if line.strip():
            row = _parse_line(line, place)
            if isinstance(row, Rejected) and not line.endswith(b"\n"):
                raise CorpusError(f"{row}; the file ends inside this line: is it complete?")
            yield row


def _parse_line(data: bytes, place: str) -> Row | Rejected:
    line = data.decode(errors="replace")
    try:
        fields = json.loads(data.decode())
    except UnicodeDecodeError as error:
        return Rejected(place, _not_utf8(error))
    except (ValueError, RecursionError) as error:
        return Rejected(place, f"not JSON ({error}): {_cut(line)}; each line must be one JSON object")
    if not isinstance(fields, dict):
        return Rejected(place, f"expected a JSON object, found {_cut(line)}")
    return Row(place, fields)


def read_json_list(stream: IO[bytes], name: str) -> Rows:
    """The objects of a JSON list. The file is read whole."""
    try:
        records = json.loads(stream.read().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise CorpusError(f"{name}: {_not_utf8(error)}") from None
    except (ValueError, RecursionError) as error:
        raise CorpusError(f"{name}: not JSON: {error}; is the file complete?") from None
    if not isinstance(records, list):
        raise CorpusError(f"{name}: expected a JSON list of records, found {excerpt(records)}")
    for number, fields in enumerate(records, 1):
        place = f"{name} record {number}"
        if isinstance(fields, dict):
            yield Row(place, fields)
        else:
            yield Rejected(place, f"expected a JSON object, found {excerpt(fields)}")


def read_tsv(stream: IO[bytes], name: str, check: CheckHeader) -> Rows:
    """The rows under a header line that `check` accepts, with csv quoting.

    Broken quoting raises CorpusError: where the following rows begin cannot be known.
    """
    csv.field_size_limit(2**31 - 1)  # the module's own limit of 128 KiB a field would refuse long documents
    lines = (line.decode(errors="surrogateescape") for _, line in _lines(stream, name))
    reader = csv.reader(lines, delimiter="\t", strict=True)
    header: list[str] | None = None
    while True:
        place = f"{name} line {reader.line_num + 1}"
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise CorpusError(
                f"{place}: broken quoting ({error}); "
                'a field that holds a quote, tab or newline is written "so", quotes doubled'
            ) from None
        if any(ESCAPED_BYTE.search(value) for value in values if not value.isascii()):
            if header is None:
                raise CorpusError(f"{place}: {NOT_UTF8}")
            yield Rejected(place, NOT_UTF8)
        elif header is None:
            header = check(values, place)
        elif len(values) == len(header):
            yield Row(place, dict(zip(header, values, strict=True)))
        elif values:
            columns = f"the header has {len(header)} ({', '.join(header)})"
            yield Rejected(place, f"{len(values)} fields, but {columns}")


def read_parquet(stream: IO[bytes], name: str) -> Rows:
    """The rows of a Parquet file, batch by batch. Raises CorpusError if two columns have one name."""
    file = pq.ParquetFile(stream)
    columns = file.schema_arrow.names
    if repeated := sorted({column for column in columns if columns.count(column) > 1}):
        raise CorpusError(f"{name}: more than one column is named {repeated[0]}; rename or drop one")
    numbers = itertools.count(1)
    for batch in file.iter_batches(batch_size=BATCH_ROWS):
        for fields in _to_python(batch):
            place = f"{name} row {next(numbers)}"
            yield Rejected(place, fields) if isinstance(fields, str) else Row(place, fields)


def _to_python(batch: pa.RecordBatch) -> Iterator[dict[str, Any] | str]:
    """The rows of a batch as Python values; for a row that has none, the reason."""
    try:
        yield from batch.to_pylist()
    except UNCONVERTIBLE:
        for index in range(batch.num_rows):
            yield _row_to_python(batch, index)


def _row_to_python(batch: pa.RecordBatch, index: int) -> dict[str, Any] | str:
    fields: dict[str, Any] = {}
    for column, values in zip(batch.schema.names, batch.columns, strict=True):
        try:
            fields[column] = values[index].as_py()
        except UnicodeDecodeError as error:
            return f"{column} is {_not_utf8(error)}"
        except UNCONVERTIBLE as error:
            return f"{column} has a value that Python cannot hold ({error})"
    return fields


def _lines(stream: IO[bytes], name: str) -> Iterator[tuple[str, bytes]]:
    """Lines with their places, split at newline bytes only (JSON may hold other line separators)."""
    number = 0
    try:
        for number, line in enumerate(stream, 1):
            yield f"{name} line {number}", line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
    except UNREADABLE as error:
        reason = f"{error or type(error).__name__}"
        raise CorpusError(
            f"{name} line {number + 1}: cannot be read: {reason}; is the file damaged or incomplete?"
        ) from None


def excerpt(value: object) -> str:
    """The beginning of a value as JSON, for messages; "missing" for None."""
    return "missing" if value is None else _cut(json.dumps(value, default=str))


def pick(fields: Mapping[str, Any], names: Iterable[str]) -> str | None:
    """The first of `names` whose field is there and not null."""
    return next((name for name in names if fields.get(name) is not None), None)


def _cut(text: str) -> str:
    """The beginning of a text as one printable line."""
    text = text.strip()
    short = text if len(text) <= EXCERPT_CHARACTERS else f"{text[: EXCERPT_CHARACTERS - 1]}…"
    return "".join(char if char.isprintable() else "\ufffd" for char in short)


def _not_utf8(error: UnicodeDecodeError) -> str:
    return f"{NOT_UTF8} ({error.reason} at byte {error.start})"
