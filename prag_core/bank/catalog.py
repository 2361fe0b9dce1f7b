"""The catalog: one row for every committed document and wording, in parts cut by ranges of doc_id.

Rows that are `current` are the snapshot. The others are wordings that were replaced and documents that left the corpus (`left`
is the number of the first snapshot without them), or documents whose run has not published yet (`left` is null): resuming needs
them until gc frees them. A merge takes the parts of the snapshot before and what was committed since, and writes again only the
parts that change; it never loses a row but those that gc erases. Memory is bounded by a part, whatever is
added (see `spool`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from typing import Any, NamedTuple, Self

import pyarrow as pa
import pyarrow.compute as pc

from prag_core.bank import tables
from prag_core.bank.layout import ObjectInfo
from prag_core.bank.spool import Spool

PART_ROWS = 1 << 16
SAMPLED = 16  # doc_ids by part from which boundaries are chosen
CATALOG = pa.schema([*tables.INDEX, ("current", pa.bool_()), ("left", pa.int64())])
COMMITS = pa.schema([("stage", pa.string()), ("shard_id", pa.string()), ("generation", pa.int64())])
OBJECTS = pa.schema(
    [("path", pa.string()), ("rows", pa.int64()), ("bytes", pa.int64()), ("sha256", pa.string())]
)


@dataclass(frozen=True)
class Part:
    """A part of the catalog: its object, the first doc_id that belongs to it (it ends where the next one begins), and how many
    of its current rows have each status, in the order of `tables.STATUSES`."""

    first: str
    info: ObjectInfo
    counts: tuple[int, ...]

    @classmethod
    def from_json(cls, fields: dict[str, Any], where: str) -> Self:
        """Decode a part as the manifest at `where` has it. Raises CorruptBankError, ValueError, or what a missing field or odd
        type raises."""
        first, counts = fields["first"], checked_counts(fields["counts"])
        if not isinstance(first, str):
            raise TypeError(f"{first!r:.40} is no document")
        return cls(first, ObjectInfo.from_fields(fields["object"], where), counts)

    def to_json(self) -> dict[str, Any]:
        return {"first": self.first, "object": asdict(self.info), "counts": list(self.counts)}


class Change(NamedTuple):
    """What a merge does to a catalog: `rows` of new commits; the corpus that the next snapshot shall hold, None: as before; and
    wordings that gc erases, as far as they are not current or their document is deleted."""

    rows: Iterable[pa.Table] = ()
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
    wanted = None if change.wanted is None else _spool([change.wanted])
    added, erased, dropped = _spool(change.rows), _spool([change.erased]), _spool([change.dropped])
    firsts = [part.first for part in parts] or _boundaries(added)
    merged: list[Part] = []
    for part, first, end in zip_longest(parts, firsts, firsts[1:]):
        new, gone, lost = (spool.take_until(end) for spool in (added, erased, dropped))
        if part and wanted is None and not (new or gone or lost or change.settled):
            merged.append(part)
            continue
        rows = read(part) if part else CATALOG.empty_table()
        local = change._replace(
            rows=new,
            wanted=wanted and pa.concat_tables([tables.WANTED.empty_table(), *wanted.take_until(end)]),
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
    added = [as_catalog(table) for table in change.rows]
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


def checked_counts(counts: Any) -> tuple[int, ...]:
    """Return counts by status as a file has them. Raises ValueError where they are not."""
    if not isinstance(counts, list) or len(counts) != len(tables.STATUSES):
        raise ValueError(f"{counts!r:.40} is no list of {len(tables.STATUSES)} counts")
    if not all(type(count) is int and count >= 0 for count in counts):
        raise ValueError(f"{counts!r:.40} are no counts")
    return tuple(counts)


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


def as_catalog(rows: pa.Table) -> pa.Table:
    """Give index rows the columns of the catalog."""
    rows = rows.append_column("current", pa.array([False] * rows.num_rows, pa.bool_()))
    return rows.append_column("left", pa.nulls(rows.num_rows, pa.int64())).cast(CATALOG)


def _spool(rows: Iterable[pa.Table]) -> Spool:
    """Rows in any order, to be taken by ranges of doc_id."""
    spool = Spool("doc_id", max(1, PART_ROWS // SAMPLED))
    for table in rows:
        spool.add(table)
    return spool


def _boundaries(rows: Spool) -> list[str]:
    """Choose where the ranges of a first catalog begin, so that each has about PART_ROWS rows."""
    count, sample = -(-rows.num_rows // PART_ROWS), rows.sample()
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
