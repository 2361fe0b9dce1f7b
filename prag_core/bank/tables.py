"""Records as Arrow tables and as Parquet: the columns of every object except the values of adapters.

Doc_ids are data and never part of a path, so any text may be one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from prag_core.errors import CorruptBankError
from prag_core.identity import content_hash
from prag_core.records import Augmentation, Document, Failure, QAPair

KEY = [("doc_id", pa.string()), ("chunk", pa.int32()), ("content_hash", pa.string())]
QA_PAIR = pa.struct([("question", pa.string()), ("answer", pa.string()), ("full_answer", pa.string())])

DOCUMENTS = pa.schema([*KEY, ("title", pa.string()), ("text", pa.string()), ("metadata", pa.string())])
AUGMENTATIONS = pa.schema(
    [*KEY, ("rewrites", pa.list_(pa.string())), ("qa_pairs", pa.list_(QA_PAIR)), ("generator", pa.string())]
)
FAILURES = pa.schema([*KEY, ("stage", pa.string()), ("reason", pa.string()), ("attempts", pa.int32())])
ROWS = pa.schema(
    [
        *KEY,
        ("tier", pa.string()),
        ("start", pa.int64()),
        ("length", pa.int64()),
        ("sha256", pa.string()),
        ("accepted", pa.bool_()),
        ("score", pa.float64()),
    ]
)
ADAPTERS = pa.schema(
    [
        *KEY,
        ("tier", pa.string()),
        ("value_sha256", pa.string()),
        ("steps", pa.int64()),
        ("tokens", pa.int64()),
        ("loss_first", pa.float64()),
        ("loss_last", pa.float64()),
        ("accepted", pa.bool_()),
        pa.field("value", pa.binary(), nullable=False),
    ]
)
SCORED_ADAPTERS = ADAPTERS.insert(len(ADAPTERS) - 1, pa.field("score", pa.float64()))  # after an exam
WANTED = pa.schema(KEY)  # the documents that a snapshot is asked to hold
NAME = pa.dictionary(pa.int32(), pa.string())  # an object's path, repeated over its rows
STATUSES = ("adapter", "text_only", "failed")  # of an index's document; of several rows the first counts
INDEX = pa.schema(
    [
        *KEY,
        ("status", NAME),
        ("documents_object", NAME),
        ("augmentations_object", NAME),
        ("adapter_object", NAME),
        ("start", pa.int64()),
        ("length", pa.int64()),
        ("sha256", pa.string()),
        ("tier", NAME),
        ("stage", NAME),
        ("reason", pa.string()),
        ("attempts", pa.int32()),
        ("score", pa.float64()),
    ]
)


def to_parquet(table: pa.Table) -> bytes:
    """Encode a table as compressed Parquet with page checksums."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", row_group_size=1 << 16, write_page_checksum=True)
    return bytes(sink.getvalue())


def from_parquet(data: bytes, name: str) -> pa.Table:
    """Decode Parquet bytes. Raises CorruptBankError naming the object."""
    try:  # not pq.read_table: its threads may outlive the interpreter
        return pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True).read(use_threads=False)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise CorruptBankError(f"{name} cannot be read as Parquet: {error}") from None


def join_keys(table: pa.Table, columns: Sequence[str] = WANTED.names) -> pa.ChunkedArray:
    """Join columns (doc_id first) into one that can be compared: all but doc_id are free of NUL, so no two rows look alike."""
    parts = [table[name].cast(pa.large_string()) for name in columns]
    return pc.binary_join_element_wise(*parts, pa.scalar("\0", pa.large_string()))


def is_among(rows: pa.Table, others: pa.Table, columns: Sequence[str] = WANTED.names) -> pa.ChunkedArray:
    """Whether each row's key is the key of one of `others`."""
    return pc.is_in(join_keys(rows, columns), value_set=join_keys(others, columns).combine_chunks())


def has_doc_id(rows: pa.Table, doc_ids: Iterable[str]) -> pa.ChunkedArray:
    """Whether each row is of one of these documents."""
    return pc.is_in(rows["doc_id"], value_set=pa.array(sorted(doc_ids), pa.string()))


def group_rows(names: pa.ChunkedArray) -> dict[str, np.ndarray]:
    """Group the rows of a dictionary column by name: ascending row numbers. One sort, however many names there are."""
    if not len(names):
        return {}
    whole = names.unify_dictionaries().combine_chunks()
    codes = whole.indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
    return {whole.dictionary[int(codes[group[0]])].as_py(): group for group in groups}


def documents_table(documents: Iterable[Document]) -> pa.Table:
    rows = [
        {
            "doc_id": d.doc_id,
            "chunk": d.chunk,
            "content_hash": content_hash(d),
            "title": d.title,
            "text": d.text,
            "metadata": json.dumps(dict(d.metadata), ensure_ascii=False, sort_keys=True),
        }
        for d in documents
    ]
    return pa.Table.from_pylist(rows, DOCUMENTS)


def documents_of(table: pa.Table) -> Iterator[Document]:
    for row in table.to_pylist():
        yield Document(
            doc_id=row["doc_id"],
            chunk=row["chunk"],
            title=row["title"],
            text=row["text"],
            metadata=json.loads(row["metadata"]),
        )


def augmentations_table(records: Sequence[Augmentation]) -> pa.Table:
    rows = [
        _key(a)
        | {
            "rewrites": list(a.rewrites),
            "generator": a.generator,
            "qa_pairs": [
                {"question": p.question, "answer": p.answer, "full_answer": p.full_answer} for p in a.qa_pairs
            ],
        }
        for a in records
    ]
    return pa.Table.from_pylist(rows, AUGMENTATIONS)


def augmentations_of(table: pa.Table) -> Iterator[Augmentation]:
    for row in table.to_pylist():
        pairs = tuple(QAPair(**pair) for pair in row.pop("qa_pairs"))
        yield Augmentation(**row | {"rewrites": tuple(row["rewrites"])}, qa_pairs=pairs)


def failures_table(records: Sequence[Failure]) -> pa.Table:
    rows = [_key(f) | {"stage": f.stage, "reason": f.reason, "attempts": f.attempts} for f in records]
    return pa.Table.from_pylist(rows, FAILURES)


def failures_of(table: pa.Table) -> Iterator[Failure]:
    for row in table.to_pylist():
        yield Failure(**row)


def _key(record: Augmentation | Failure) -> dict[str, Any]:
    return {"doc_id": record.doc_id, "chunk": record.chunk, "content_hash": record.content_hash}


def wanted_table(rows: Iterable[tuple[str, int, str]]) -> pa.Table:
    """A table of (doc_id, chunk, content_hash)."""
    return pa.Table.from_pylist([dict(zip(WANTED.names, row, strict=True)) for row in rows], WANTED)


def count_statuses(index: pa.Table) -> dict[str, int]:
    """Count the documents of an index by status."""
    statuses = index["status"].cast(pa.string())
    return {status: pc.sum(pc.equal(statuses, status)).as_py() or 0 for status in STATUSES}


def index_rows(rows: pa.Table, constant: dict[str, str | None]) -> pa.Table:
    """Give rows or failures the columns of an index: the constant ones, those that `rows` has, and nulls for the rest."""
    columns = []
    for field in INDEX:
        if field.name in constant:
            column = pa.array([constant[field.name]] * rows.num_rows, pa.string())
        elif field.name in rows.column_names:
            column = rows[field.name].combine_chunks()
        else:
            column = pa.nulls(rows.num_rows)
        columns.append(
            column.cast(pa.string()).dictionary_encode() if field.type == NAME else column.cast(field.type)
        )
    return pa.Table.from_arrays(columns, schema=INDEX)
