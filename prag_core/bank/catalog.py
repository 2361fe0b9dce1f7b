"""The catalog: one row for every committed document and wording, in parts cut by ranges of doc_id.

Rows that are `current` are the snapshot. The others are wordings that were replaced and documents that left the corpus (`left`
is the number of the first snapshot without them), or documents whose run has not published yet (`left` is null): resuming needs
them until gc frees them. A merge takes the parts of the snapshot before and what was committed since, and writes again only the
parts that change; it never loses a row but those that gc erases. Memory is bounded by what is added and by a part.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Self

import pyarrow as pa
import pyarrow.compute as pc

from prag_core.bank import tables
from prag_core.bank.layout import ObjectInfo

PART_ROWS = 1 << 16
SAMPLED = 64  # doc_ids by part from which boundaries are chosen
CATALOG = pa.schema([*tables.INDEX, ("current", pa.bool_()), ("left", pa.int64())])


@dataclass(frozen=True)
class Part:
    """A part of the catalog: its object, the first doc_id that belongs to it (it ends where the next one begins), and how many
    of its current rows have each status, in the order of `tables.STATUSES`."""

    first: str
    info: ObjectInfo
    counts: tuple[int, ...]

    @classmethod
    def from_json(cls, fields: dict[str, Any], where: str) -> Self:
        """Decode a part as the manifest at `where` has it. Raises CorruptBankError, or what a missing field or odd type
        raises."""
        counts = tuple(int(count) for count in fields["counts"])
        return cls(str(fields["first"]), ObjectInfo.from_fields(fields["object"], where), counts)

    def to_json(self) -> dict[str, Any]:
        return {"first": self.first, "object": asdict(self.info), "counts": list(self.counts)}


class Change(NamedTuple):
    """What a merge does to a catalog: `rows` of new commits; the corpus that the next snapshot shall hold, None: as before; and
    wordings that gc erases, as far as they are not current or their document is deleted."""

    rows: Sequence[pa.Table] = ()
    wanted: pa.Table | None = None
    erased: pa.Table = tables.WANTED.empty_table()
    deleted: Collection[str] = ()
    number: int = 1  # of the next snapshot
    dropped: pa.Table = tables.WANTED.empty_table()  # wordings whose rows of before go
    settled: bool = (
        False  # whether rows that never were current are to leave, too: no run is alive that may publish them
    )


def merge(
    parts: Sequence[Part],
    change: Change,
    read: Callable[[Part], pa.Table],
    write: Callable[[pa.Table], ObjectInfo],
) -> list[Part]:
    """Return the parts of the next snapshot. `read` gives the rows of a part in columns of CATALOG; `write` keeps rows as an
    object."""
    old: list[Part | None] = list(parts)
    firsts = [part.first for part in parts]
    if not parts:
        firsts = _boundaries(change.rows)
        old = [None] * len(firsts)
    added, erased = bucket(change.rows, firsts), bucket([change.erased], firsts)
    dropped = bucket([change.dropped], firsts)
    wanted = bucket([change.wanted] if change.wanted is not None else [], firsts)
    merged: list[Part] = []
    for part, first, *tables_of in zip(old, firsts, added, wanted, erased, dropped, strict=True):
        new, corpus, gone, lost = tables_of
        untouched = not (new or gone or lost or change.settled) and change.wanted is None
        if part and untouched:
            merged.append(part)
            continue
        rows = read(part) if part else CATALOG.empty_table()
        local = change._replace(
            rows=new,
            wanted=None
            if change.wanted is None
            else pa.concat_tables([tables.WANTED.empty_table(), *corpus]),
            erased=pa.concat_tables([tables.WANTED.empty_table(), *gone]),
            dropped=pa.concat_tables([tables.WANTED.empty_table(), *lost]),
        )
        after = merge_rows(rows, local)
        if part and after.equals(rows):
            merged.append(part)
        else:
            merged += [
                Part(name if n else first, write(piece), count_current(piece))
                for n, (name, piece) in enumerate(_cut(after))
            ]
    return merged


def merge_rows(rows: pa.Table, change: Change) -> pa.Table:
    """Merge one range: add what was committed, say what is current, drop what is erased. Sorted by (doc_id, chunk,
    content_hash)."""
    added = [_as_catalog(table) for table in change.rows]
    kept = rows = rows.cast(CATALOG)
    if change.dropped.num_rows:
        kept = rows.filter(pc.invert(tables.is_among(rows, change.dropped)))
    best = select_best(pa.concat_tables([kept, *added]).unify_dictionaries().combine_chunks())
    current, left = _flags_of(rows, best)
    if change.wanted is not None:
        wanted = tables.is_among(best, change.wanted).combine_chunks()
        leaves = pc.and_(current, pc.invert(wanted))
        left = pc.if_else(wanted, pa.scalar(None, pa.int64()), pc.if_else(leaves, change.number, left))
        current = wanted
    if change.settled:
        left = pc.if_else(pc.and_(pc.invert(current), pc.is_null(left)), change.number, left)
    best = _replace(_replace(best, "current", current), "left", left)
    if change.erased.num_rows:
        unprotected = pc.or_(pc.invert(best["current"]), tables.has_doc_id(best, change.deleted))
        best = best.filter(pc.invert(pc.and_(unprotected, tables.is_among(best, change.erased))))
    return best.combine_chunks()


def count_current(rows: pa.Table) -> tuple[int, ...]:
    """Count the current rows by status, in the order of `tables.STATUSES`."""
    counts = tables.count_statuses(rows.filter(rows["current"]))
    return tuple(counts[status] for status in tables.STATUSES)


def select_best(rows: pa.Table) -> pa.Table:
    """Keep one row a wording, sorted by (doc_id, chunk, content_hash). Adapters come before those that failed their exam and
    these before failures; of adapters the one whose shard's name sorts first; of failures the one with most attempts; of rows
    that a rewriting has repeated the last."""
    order = {
        **{name: rows[name] for name in tables.WANTED.names},
        "status": pc.index_in(rows["status"].cast(pa.string()), pa.array(tables.STATUSES)),
        "adapters": _shard(rows["adapter_object"]),
        "attempts": pc.negate(rows["attempts"]),
        "documents": _shard(rows["documents_object"]),
        "reason": rows["reason"],
        "added": pa.array(range(0, -rows.num_rows, -1), pa.int64()),
    }
    rows = rows.take(pc.sort_indices(pa.table(order), sort_keys=[(name, "ascending") for name in order]))
    if rows.num_rows < 2:
        return rows
    keys = tables.join_keys(rows).combine_chunks()
    repeats = pc.equal(keys.slice(1), keys.slice(0, len(keys) - 1))
    return rows.filter(pa.concat_arrays([pa.array([True]), pc.invert(repeats)]))


def _shard(objects: pa.ChunkedArray) -> pa.ChunkedArray:
    """The paths of objects without the attempts that wrote them."""
    return pc.replace_substring_regex(objects.cast(pa.string()), r"-[0-9a-f]{16}\.parquet$", "")


def _flags_of(rows: pa.Table, chosen: pa.Table) -> tuple[pa.Array, pa.Array]:
    """`current` and `left` of the chosen rows, as `rows` has them of the same wordings. New ones have neither."""
    places = pc.index_in(tables.join_keys(chosen), value_set=tables.join_keys(rows).combine_chunks())
    places = places.combine_chunks()
    if not rows.num_rows:
        return pa.array([False] * chosen.num_rows, pa.bool_()), pa.nulls(chosen.num_rows, pa.int64())
    current, left = (rows[name].combine_chunks().take(places) for name in ("current", "left"))
    return pc.fill_null(current, False), left


def _replace(rows: pa.Table, name: str, column: pa.Array) -> pa.Table:
    return rows.set_column(rows.column_names.index(name), CATALOG.field(name), column)


def _as_catalog(rows: pa.Table) -> pa.Table:
    """Give index rows the columns of the catalog."""
    rows = rows.append_column("current", pa.array([False] * rows.num_rows, pa.bool_()))
    return rows.append_column("left", pa.nulls(rows.num_rows, pa.int64())).cast(CATALOG)


def bucket(batches: Sequence[pa.Table], firsts: Sequence[str]) -> list[list[pa.Table]]:
    """Distribute rows over ranges of doc_id that begin at `firsts`. A doc_id before the first belongs to the first."""
    buckets: list[list[pa.Table]] = [[] for _ in firsts]
    for batch in batches:
        for table in (pa.Table.from_batches([part]) for part in batch.to_batches(max_chunksize=PART_ROWS)):
            places = [max(0, bisect_right(firsts, doc_id) - 1) for doc_id in table["doc_id"].to_pylist()]
            if places and min(places) == max(places):
                buckets[places[0]].append(table)
                continue
            column = pa.array(places, pa.int32())
            for place in sorted(set(places)):
                buckets[place].append(table.filter(pc.equal(column, place)))
    return buckets


def _boundaries(batches: Sequence[pa.Table]) -> list[str]:
    """Choose where the ranges of a first catalog begin, so that each has about PART_ROWS rows."""
    total = sum(batch.num_rows for batch in batches)
    count = -(-total // PART_ROWS)
    if count < 2:
        return [""]
    share = min(1.0, SAMPLED * count / total)
    draw = random.Random(0)
    sample = sorted(
        doc_id
        for batch in batches
        for doc_id in batch["doc_id"].to_pylist()
        if share == 1.0 or draw.random() < share
    )
    return ["", *sorted({sample[len(sample) * n // count] for n in range(1, count)} - {""})]


def _cut(rows: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """Cut a range that has grown beyond two parts, never within a document. Yields the first doc_id of each piece, and the
    piece."""
    start, doc_ids = 0, rows["doc_id"]
    while rows.num_rows - start > 2 * PART_ROWS:
        end = start + PART_ROWS
        while end < rows.num_rows and doc_ids[end].as_py() == doc_ids[end - 1].as_py():
            end += 1
        yield doc_ids[start].as_py(), rows.slice(start, end - start)
        start = end
    if start < rows.num_rows:
        yield doc_ids[start].as_py(), rows.slice(start)
