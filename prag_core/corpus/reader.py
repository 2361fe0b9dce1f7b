"""A corpus as a stream of checked documents, however many there are.

A row needs an id and a text (see `documents`). Documents come in the order of the files; a repeated document is
dropped and counted. A row that cannot be used is rejected: counted, kept with its place and reason, and the rest go on. The
corpus is refused, once it has been read, if more than the share `corpus.max_rejected` of its rows was rejected, rounded up to
whole rows: a wrong column or file shows in many rows, and a single bad row stops nothing. A file that cannot be read, or in
which the following rows cannot be found, is a CorpusError at once.

Memory: about 60 bytes a document, and 100 at times, to notice repeated ids; never a text.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from prag_core.config.schema import CorpusConfig
from prag_core.corpus.documents import UnusableRow, to_document
from prag_core.corpus.formats import list_files, read_rows
from prag_core.corpus.wordings import Wordings
from prag_core.errors import ConfigError, CorpusError
from prag_core.files.rows import Rejected, Row, Rows
from prag_core.records import Document
from prag_core.storage import open_root, storage_errors

MAX_REASONS = 20  # rejected rows that are kept with their reason; all are counted
SHOWN = 5  # of these, in an error message
HOPELESS_ROWS = (
    1000  # a corpus of which as many rows are rejected before the first document is not read further
)


@dataclass
class CorpusCounts:
    """Counts of what has been read so far."""

    documents: int = 0
    duplicates: int = 0
    rejected: int = 0
    reasons: list[Rejected] = field(default_factory=list)  # the first rejected rows
    conflicts: dict[str, str] = field(default_factory=dict)  # of these, by place: ids with two wordings

    @property
    def rows(self) -> int:
        return self.documents + self.duplicates + self.rejected

    def check(self, row: Row | Rejected) -> Document | None:
        """The document of a row; None if it has none, which is counted."""
        if isinstance(row, Row):
            try:
                return to_document(row.fields)
            except UnusableRow as error:
                row = Rejected(row.place, str(error))
        self._reject(row)
        return None

    def reject_conflict(self, place: str, doc_id: str) -> None:
        """Count a row whose document has the id of an earlier one, and another wording."""
        reason = f"document {doc_id!r} has another text or title than an earlier one of the same id"
        self._reject(Rejected(place, f"{reason}; give each its own id"))
        if len(self.conflicts) < MAX_REASONS:
            self.conflicts[place] = doc_id

    def _reject(self, row: Rejected) -> None:
        self.rejected += 1
        if len(self.reasons) < MAX_REASONS:
            self.reasons.append(row)


class CorpusReader(Iterator[Document]):
    """The documents of a corpus, one after another, and the `counts` of what has been read so far."""

    def __init__(self, config: CorpusConfig) -> None:
        self.counts = CorpusCounts()
        self._documents = _read(config, self.counts)

    def __next__(self) -> Document:
        return next(self._documents)


def read_corpus(config: CorpusConfig) -> CorpusReader:
    """Stream the documents of `config.uri`, at most `config.limit` of them. No file is opened before the first is asked for.

    Raises CorpusError if the corpus is missing, unreadable or empty, and, after the last document, if too many rows were
    rejected.
    """
    if config.limit is not None and config.limit < 1:
        raise ConfigError(f"corpus.limit={config.limit}: expected at least 1, or null for the whole corpus")
    return CorpusReader(config)


def _read(config: CorpusConfig, counts: CorpusCounts) -> Iterator[Document]:
    wordings = Wordings()
    for row in _rows(config):
        document = counts.check(row)
        if document is None:
            continue
        first, same = wordings.first(document.doc_id, f"{document.title}\0{document.text}")
        if first:
            counts.documents += 1
            yield document
            if counts.documents == config.limit:
                break
        elif same:
            counts.duplicates += 1
        else:
            counts.reject_conflict(row.place, document.doc_id)
    if not counts.rows:
        raise CorpusError(f"corpus.uri={config.uri}: the corpus is empty; it needs at least one document")
    if not counts.documents or counts.rejected > math.ceil(config.max_rejected * counts.rows):
        raise CorpusError(_refusal(config, counts))


def _rows(config: CorpusConfig) -> Rows:
    try:
        with storage_errors("reading", config.uri):
            fs, path = open_root(config.uri)
            files = list_files(fs, path, config.format)
    except CorpusError:
        raise
    except (OSError, ImportError, ValueError) as error:
        reason = str(error).rpartition(f"{config.uri}: ")[2]
        raise CorpusError(f"corpus.uri={config.uri}: cannot be read: {reason}") from None
    for file in files:
        yield from read_rows(fs, file, config.format)


def _refusal(config: CorpusConfig, counts: CorpusCounts) -> str:
    """The message for a corpus with too many rejected rows: their count and the first reasons."""
    shown = counts.reasons[:SHOWN]
    conflicts = {row.place: counts.conflicts[row.place] for row in shown if row.place in counts.conflicts}
    earlier = _first_places(config, set(conflicts.values()))
    reasons = [
        f"{row} (the earlier one: {earlier.get(conflicts[row.place])})"
        if row.place in conflicts
        else str(row)
        for row in shown
    ]
    more = "; …" if counts.rejected > len(shown) else ""
    return (
        f"corpus.uri={config.uri}: {counts.rejected:,} of {counts.rows:,} rows cannot be used, and "
        f"corpus.max_rejected={config.max_rejected:g} is the largest share that may be left out; correct them, or raise "
        f"corpus.max_rejected: {'; '.join(reasons)}{more}"
    )


def _first_places(config: CorpusConfig, doc_ids: set[str]) -> dict[str, str]:
    """The place of the first row of each of these documents. Reads the corpus again."""
    places: dict[str, str] = {}
    for row in _rows(config) if doc_ids else ():
        if isinstance(row, Row):
            with contextlib.suppress(UnusableRow):
                doc_id = to_document(row.fields).doc_id
                if doc_id in doc_ids:
                    places.setdefault(doc_id, row.place)
        if len(places) == len(doc_ids):
            break
    return places
