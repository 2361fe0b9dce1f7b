"""Rows beyond memory, brought into order: an external merge sort, whose runs lie in a temporary file.

Rows come in any order and are taken back by ascending ranges of one column, such as doc_id, each row once. Memory is bounded by
`RUN_BYTES` and by a piece of every run, whatever comes; what is less than a run never goes to the disk.
"""

from __future__ import annotations

import tempfile
from bisect import bisect_left
from collections import deque
from typing import IO, NamedTuple, cast

import pyarrow as pa
import pyarrow.compute as pc

from prag_core.bank import tables
from prag_core.storage import storage_errors

RUN_BYTES = 1 << 27  # rows of so many bytes are sorted at once
BATCH_ROWS = 1 << 16  # rows that are gathered at once


class Piece(NamedTuple):
    """Consecutive rows of a run on the disk: the first value of the key, and where they lie in the file."""

    first: str
    start: int
    length: int


class Run:
    """Rows in order: some in memory, and the pieces on the disk that follow them."""

    def __init__(self, rows: pa.Table, pieces: deque[Piece]) -> None:
        self.rows, self.pieces = rows, pieces


class Spool:
    """Rows that are sorted by column `key`. Rows of equal keys keep the order in which they came. `piece_rows` are read back
    from the disk at once."""

    def __init__(self, key: str, piece_rows: int) -> None:
        self.key, self.piece_rows = key, piece_rows
        self.num_rows = 0
        self._gathered: list[pa.Table] = []
        self._bytes = 0
        self._runs: list[Run] = []
        self._file: IO[bytes] | None = None

    def add(self, rows: pa.Table) -> None:
        """Add rows, of the same columns as those before. None may be added once some were taken."""
        for batch in rows.to_batches(max_chunksize=BATCH_ROWS):
            self._gathered.append(pa.Table.from_batches([batch]))
            self._bytes += batch.nbytes
            if self._bytes >= RUN_BYTES:
                self._keep(self._sorted())
        self.num_rows += rows.num_rows

    def sample(self) -> list[str]:
        """Values of the key, sorted: of every run the first of each piece."""
        if self._gathered:
            self._runs.append(Run(self._sorted(), deque()))
        values = [piece.first for run in self._runs for piece in run.pieces]
        for run in self._runs:
            keys = run.rows[self.key]
            values += [keys[n].as_py() for n in range(0, len(keys), self.piece_rows)]
        return sorted(values)

    def take_until(self, end: str | None) -> list[pa.Table]:
        """Take the rows whose key is less than `end`, or all that are left, in tables that are sorted each, in the order in which
        they came."""
        if self._gathered:
            self._runs.append(Run(self._sorted(), deque()))
        return [rows for run in self._runs for rows in self._take_from(run, end)]

    def _take_from(self, run: Run, end: str | None) -> list[pa.Table]:
        taken = []
        while True:
            keys = run.rows[self.key]
            count = len(keys) if end is None else bisect_left(keys, end, key=lambda value: value.as_py())
            if count:
                taken.append(run.rows.slice(0, count))
                run.rows = run.rows.slice(count)
            if run.rows.num_rows or not run.pieces or (end is not None and run.pieces[0].first >= end):
                return taken
            run.rows = self._read(run.pieces.popleft())

    def _sorted(self) -> pa.Table:
        """The rows that were gathered, in order."""
        rows = pa.concat_tables(self._gathered).unify_dictionaries().combine_chunks()
        self._gathered, self._bytes = [], 0
        order = pc.sort_indices(rows, sort_keys=[(self.key, "ascending")])
        return rows.take(order)

    def _keep(self, rows: pa.Table) -> None:
        """Write a run to the disk."""
        run = Run(rows.schema.empty_table(), deque())
        with storage_errors("writing", tempfile.gettempdir()):
            self._file = self._file or cast(IO[bytes], tempfile.TemporaryFile())  # noqa: SIM115  (as long as this spool)
            for start in range(0, rows.num_rows, self.piece_rows):
                piece = rows.slice(start, self.piece_rows)
                data = tables.to_parquet(piece)
                run.pieces.append(Piece(piece[self.key][0].as_py(), self._file.tell(), len(data)))
                self._file.write(data)
        self._runs.append(run)

    def _read(self, piece: Piece) -> pa.Table:
        assert self._file is not None
        with storage_errors("reading", tempfile.gettempdir()):
            self._file.seek(piece.start)
            return tables.from_parquet(self._file.read(piece.length), "a temporary file")
