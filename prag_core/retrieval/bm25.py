"""BM25 over title and text: questions → the passages that share their rarest words.

Scores are Lucene's BM25 (bm25s), computed when the index is built, so that a search is a sum of sparse columns. It promises:
- higher score first, equal scores by (doc_id, chunk): one index gives one answer, whatever order it was built in;
- only documents that share a word with the question (score > 0), so perhaps fewer than k, or none;
- with a filter, the best k of those documents that it lets through. Words count as rare or common over all documents,
  filtered or not, so that a passage's score does not depend on the filter.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice

import bm25s
import numpy as np
import pyarrow as pa

from prag_core.config.schema import RetrievalConfig
from prag_core.errors import ConfigError
from prag_core.records import Document, Passage
from prag_core.retrieval.analyzer import make_analyzer
from prag_core.retrieval.filters import TERMS, Filter, TermsBuilder, select_rows

PASSAGE = pa.schema(
    [
        ("doc_id", pa.large_string()),
        ("chunk", pa.int64()),
        ("title", pa.large_string()),
        ("text", pa.large_string()),
    ]
)
METADATA = pa.field("metadata", TERMS)
SCHEMA = PASSAGE.append(METADATA)
BATCH = 4096  # documents turned into Arrow at once
MASK_BYTES = 64 << 20  # of the filters whose rows are remembered


class LexicalIndex:
    """Documents in key order (an Arrow table, perhaps memory-mapped) and their BM25 scores, one sparse column a term."""

    def __init__(
        self, scorer: bm25s.BM25, documents: pa.Table, settings: RetrievalConfig, keep_alive: object = None
    ) -> None:
        """`keep_alive` is whatever owns the files that `scorer` and `documents` are mapped from."""
        self.scorer, self.documents, self.settings, self._keep_alive = scorer, documents, settings, keep_alive
        self._analyze = make_analyzer(settings.stemmer, settings.stopwords)
        self._allowed = lru_cache(max(1, MASK_BYTES // max(len(self), 1)))(self._select)

    @classmethod
    def build(cls, documents: Iterable[Document], settings: RetrievalConfig) -> LexicalIndex:
        """Index documents that are read once, in any order. Holds their text (Arrow) and term ids, not the records."""
        _check_settings(settings)
        analyze = make_analyzer(settings.stemmer, settings.stopwords)
        vocabulary: dict[str, int] = {
            "": 0
        }  # a term of no document, so that no corpus has an empty vocabulary
        term_ids: list[list[int]] = []
        batches, metadata = [], TermsBuilder()
        for batch in _batches(documents):
            texts = (f"{document.title} {document.text}" for document in batch)
            term_ids += [
                [vocabulary.setdefault(term, len(vocabulary)) for term in analyze(text)] for text in texts
            ]
            batches.append(_as_arrow(batch))
            for document in batch:
                metadata.add(document.metadata)
        table = pa.Table.from_batches(batches, PASSAGE).append_column(METADATA, metadata.finish())
        order = _key_order(table)
        scorer = bm25s.BM25(k1=settings.k1, b=settings.b, method="lucene")
        _score_terms(scorer, [term_ids[row] for row in order], vocabulary)
        return cls(scorer, table.take(pa.array(order, pa.int64())).combine_chunks(), settings)

    def __len__(self) -> int:
        return self.documents.num_rows

    def search(self, questions: Sequence[str], k: int, where: Filter | None = None) -> list[list[Passage]]:
        """For each question its best k passages among those that `where` lets through, fewer where fewer share a word with it."""
        if k < 1:
            raise ConfigError(f"retrieval.top_k={k}: at least one passage must be asked for")
        return [self._search(question, k, where) for question in questions]

    def look_up(self, doc_ids: Sequence[str], where: Filter | None = None) -> list[Passage]:
        """All chunks of these documents, in the order asked, with score 0. A document that is not there or that `where` does
        not let through has none."""
        rows = (row for doc_id in dict.fromkeys(doc_ids) for row in self._rows_of(doc_id))
        return [self._passage(row, 0.0) for row in rows if where is None or self._allowed(where)[row]]

    def _rows_of(self, doc_id: str) -> range:
        ids, rows = self.documents["doc_id"], range(len(self))
        first, end = (
            bisect(rows, doc_id, key=lambda row: ids[row].as_py()) for bisect in (bisect_left, bisect_right)
        )
        return range(first, end)

    def _search(self, question: str, k: int, where: Filter | None) -> list[Passage]:
        terms = self.scorer.get_tokens_ids(self._analyze(question))
        if not terms:
            return []
        scores = self.scorer.get_scores_from_ids(terms)
        if where is not None:
            scores *= self._allowed(where)
        return [self._passage(row, float(scores[row])) for row in best_rows(scores, k)]

    def _select(self, where: Filter) -> np.ndarray:
        return select_rows(self.documents["metadata"].combine_chunks(), where)

    def _passage(self, row: int, score: float) -> Passage:
        fields = {name: self.documents[name][row].as_py() for name in PASSAGE.names}
        return Passage(**fields, score=score)


def best_rows(scores: np.ndarray, k: int) -> np.ndarray:
    """Rows of the k highest positive scores [num_documents], best first; equal scores in row order."""
    candidates = np.flatnonzero(scores > 0)
    if len(candidates) > k:
        kth = np.partition(scores[candidates], -k)[-k]
        candidates = candidates[scores[candidates] >= kth]
    order = np.argsort(-scores[candidates], kind="stable")
    return candidates[order[:k]]


def _check_settings(settings: RetrievalConfig) -> None:
    if settings.k1 < 0 or not 0 <= settings.b <= 1:
        raise ConfigError(
            f"retrieval.k1={settings.k1}, retrieval.b={settings.b}: k1 must be at least 0 and b between 0 and 1"
        )


def _score_terms(scorer: bm25s.BM25, term_ids: list[list[int]], vocabulary: dict[str, int]) -> None:
    if any(term_ids):
        scorer.index((term_ids, vocabulary), create_empty_token=False, show_progress=False)
        return
    scorer.vocab_dict, scorer.nonoccurrence_array = (
        {},
        None,
    )  # bm25s cannot average over nothing: no term, no answer
    scorer.scores = {
        "data": np.zeros(0, np.float32),
        "indices": np.zeros(0, np.int32),
        "indptr": np.zeros(1, np.int32),
        "num_docs": len(term_ids),
    }


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    iterator = iter(documents)
    while batch := list(islice(iterator, BATCH)):
        yield batch


def _as_arrow(documents: Sequence[Document]) -> pa.RecordBatch:
    columns = [pa.array([getattr(d, field.name) for d in documents], field.type) for field in PASSAGE]
    return pa.RecordBatch.from_arrays(columns, schema=PASSAGE)


def _key_order(table: pa.Table) -> list[int]:
    keys = zip(table["doc_id"].to_pylist(), table["chunk"].to_pylist(), strict=True)
    return [row for _, row in sorted((key, row) for row, key in enumerate(keys))]
