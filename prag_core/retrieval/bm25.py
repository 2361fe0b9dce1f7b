"""Lexical retrieval: BM25 over title and text.

Scores are Lucene's BM25 (bm25s), computed when the index is built, so that a search is a sum of sparse columns. It promises:
- higher score first, equal scores by (doc_id, chunk): one index gives one answer, whatever order it was built in;
- only documents that share a word with the question (score > 0), so perhaps fewer than k, or none;
- stop words count only in a question that has no other words ("Who are The Who?");
- with a filter, the best k of those documents that it allows. Words count as rare or common over all documents,
  filtered or not, so that a passage's score does not depend on the filter.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice

import bm25s
import numpy as np
import pyarrow as pa

from prag_core.config.checks import check_values
from prag_core.config.schema import RetrievalConfig
from prag_core.errors import ConfigError
from prag_core.records import Document, Passage
from prag_core.retrieval.analyzer import Analyzer, is_unspaced
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
BATCH = 4096  # documents turned into Arrow at once
MASK_BYTES = 64 << 20  # of the cached row masks of filters


class LexicalIndex:
    """Documents in key order (an Arrow table, perhaps memory-mapped) and their BM25 scores, one sparse column a term."""

    def __init__(
        self,
        scorer: bm25s.BM25,
        stop_scorer: bm25s.BM25,
        documents: pa.Table,
        settings: RetrievalConfig,
        *,
        keep_alive: object = None,
    ) -> None:
        """`stop_scorer` has the scores of stop words; `keep_alive` owns the files that the others are mapped from."""
        self.scorer, self.stop_scorer, self.documents, self.settings = (
            scorer,
            stop_scorer,
            documents,
            settings,
        )
        self._keep_alive = keep_alive
        self._analyze = Analyzer(settings.stemmer, settings.stopwords)
        self._allowed = lru_cache(max(1, MASK_BYTES // max(len(self), 1)))(self._select)

    @classmethod
    def build(cls, documents: Iterable[Document], settings: RetrievalConfig) -> LexicalIndex:
        """Index documents that are read once, in any order. Holds their text (Arrow) and term ids, not the records."""
        check_values(settings, "retrieval.")
        analyze = Analyzer(settings.stemmer, settings.stopwords)
        terms, stop_terms, metadata = _TermIds(), _TermIds(), TermsBuilder()
        batches = []
        for batch in _batches(documents):
            for document in batch:
                words, stops = analyze.split(f"{document.title} {document.text}")
                terms.add(words)
                stop_terms.add(stops)
                metadata.add(document.metadata)
            batches.append(_as_arrow(batch))
        table = pa.Table.from_batches(batches, PASSAGE).append_column(METADATA, metadata.finish())
        order = _key_order(table)
        return cls(
            terms.score(order, settings),
            stop_terms.score(order, settings),
            table.take(pa.array(order, pa.int64())).combine_chunks(),
            settings,
        )

    def __len__(self) -> int:
        return self.documents.num_rows

    def count_unspaced(self, sampled: int) -> tuple[int, int]:
        """Count the documents in a script without spaces among about `sampled`, evenly spread. Return (count, looked at)."""
        rows = range(0, len(self), max(1, len(self) // sampled))
        texts = self.documents["text"]
        return sum(is_unspaced(texts[row].as_py()) for row in rows), len(rows)

    def search(self, questions: Sequence[str], k: int, where: Filter | None = None) -> list[list[Passage]]:
        """The best k passages for each question among those that `where` allows; fewer if fewer share a word with it."""
        if k < 1:
            raise ConfigError(f"retrieval.top_k={k}: at least one passage must be asked for")
        return [self._search(question, k, where) for question in questions]

    def look_up(self, doc_ids: Sequence[str], where: Filter | None = None) -> list[Passage]:
        """All chunks of these documents, in the order asked, with score 0; none of a document that is not in the index or
        that `where` does not allow."""
        rows = (row for doc_id in dict.fromkeys(doc_ids) for row in self._rows_of(doc_id))
        return [self._passage(row, 0.0) for row in rows if where is None or self._allowed(where)[row]]

    def _rows_of(self, doc_id: str) -> range:
        ids, rows = self.documents["doc_id"], range(len(self))
        first, end = (
            bisect(rows, doc_id, key=lambda row: ids[row].as_py()) for bisect in (bisect_left, bisect_right)
        )
        return range(first, end)

    def _search(self, question: str, k: int, where: Filter | None) -> list[Passage]:
        words, stops = self._analyze.split(question)
        scorer = self.scorer if words else self.stop_scorer
        terms = scorer.get_tokens_ids(words or stops)
        if not terms:
            return []
        scores = scorer.get_scores_from_ids(terms)
        if where is not None:
            scores *= self._allowed(where)
        return [self._passage(row, float(scores[row])) for row in best_rows(scores, k)]

    def _select(self, where: Filter) -> np.ndarray:
        return select_rows(self.documents["metadata"].combine_chunks(), where)

    def _passage(self, row: int, score: float) -> Passage:
        fields = {name: self.documents[name][row].as_py() for name in PASSAGE.names}
        return Passage(**fields, score=score)


def best_rows(scores: np.ndarray, k: int) -> np.ndarray:
    """Select the rows of the k highest positive scores [num_documents], best first; equal scores in row order."""
    candidates = np.flatnonzero(scores > 0)
    if len(candidates) > k:
        kth = np.partition(scores[candidates], -k)[-k]
        candidates = candidates[scores[candidates] >= kth]
    order = np.argsort(-scores[candidates], kind="stable")
    return candidates[order[:k]]


class _TermIds:
    """Collects the terms of one document after another as numbers, then scores them."""

    def __init__(self) -> None:
        self._vocabulary: dict[str, int] = {"": 0}  # a term of no document: bm25s needs one
        self._documents: list[array[int]] = []

    def add(self, terms: Sequence[str]) -> None:
        ids = (self._vocabulary.setdefault(term, len(self._vocabulary)) for term in terms)
        self._documents.append(array("i", ids))

    def score(self, order: Sequence[int], settings: RetrievalConfig) -> bm25s.BM25:
        """BM25 over the documents, rows in this order."""
        scorer = bm25s.BM25(k1=settings.k1, b=settings.b, method="lucene")
        if any(self._documents):
            documents = [self._documents[row] for row in order]
            scorer.index((documents, self._vocabulary), create_empty_token=False, show_progress=False)
            return scorer
        scorer.vocab_dict, scorer.nonoccurrence_array = {}, None  # bm25s cannot average over no term at all
        scorer.scores = {
            "data": np.zeros(0, np.float32),
            "indices": np.zeros(0, np.int32),
            "indptr": np.zeros(1, np.int32),
            "num_docs": len(order),
        }
        return scorer


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
