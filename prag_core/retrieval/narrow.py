"""Of a corpus too large to parameterize, the passages that a set of questions retrieves.

Two passes over the corpus and no index: only the questions' own words are counted, so that memory is the documents' lengths (4
bytes each), those words' places, and what reading a corpus takes. Scores are exactly those of `LexicalIndex` over the whole
corpus; equal ones count in the order of the corpus.

A kept document's metadata say which questions found it (`found_by`), so that retrieval over the kept ones alone, where other
words are rare and common, can still find for these questions what they found in the whole corpus: `AsNarrowed`.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from prag_core.config.schema import CorpusConfig, RetrievalConfig
from prag_core.corpus.reader import read_corpus
from prag_core.errors import CorpusError
from prag_core.identity import digest
from prag_core.records import Document, Passage
from prag_core.retrieval.analyzer import make_analyzer
from prag_core.retrieval.bm25 import LexicalIndex
from prag_core.retrieval.filters import Filter

FOUND_BY = "found_by"  # in a kept document's metadata: the marks of the questions that found it


@dataclass(frozen=True)
class Narrowed:
    """The documents that any question retrieves, in the order of the corpus, and how many there were to choose from. `kept`: the
    share of what the questions retrieve from the whole corpus that they also retrieve from these documents alone."""

    documents: tuple[Document, ...]
    corpus_documents: int
    kept: float


def narrow_corpus(
    corpus: CorpusConfig, questions: Sequence[str], settings: RetrievalConfig, k: int
) -> Narrowed:
    """The `k` best documents of the corpus for each question. Raises CorpusError where none shares a word with any."""
    return narrow_corpora(corpus, {"": questions}, settings, k)[""]


def narrow_corpora(
    corpus: CorpusConfig, questions: Mapping[str, Sequence[str]], settings: RetrievalConfig, k: int
) -> dict[str, Narrowed]:
    """The same for each of several sets of questions, by name, in as many passes as for one."""
    words = QuestionWords([question for asked in questions.values() for question in asked], settings)
    for document in read_corpus(corpus):
        words.add(document)
    best = iter(words.best(k))
    rows = {name: list(islice(best, len(asked))) for name, asked in questions.items()}
    wanted = {row for found in rows.values() for each in found for row in each}
    documents = {row: document for row, document in enumerate(read_corpus(corpus)) if row in wanted}
    for name, found in rows.items():
        if not any(found):
            which = f" of {name}" if name else ""
            raise CorpusError(
                f"corpus.uri={corpus.uri}: no document shares a word with any of the {len(found)} questions{which}"
            )
    return {
        name: _keep(rows[name], documents, asked, words.num_documents, settings, k)
        for name, asked in questions.items()
    }


def _keep(
    rows: Sequence[Sequence[int]],
    documents: Mapping[int, Document],
    questions: Sequence[str],
    total: int,
    settings: RetrievalConfig,
    k: int,
) -> Narrowed:
    asked: dict[int, list[str]] = {}
    for question, each in zip(questions, rows, strict=True):
        for row in each:
            asked.setdefault(row, []).append(_mark(question))
    kept = [
        replace(documents[r], metadata={**documents[r].metadata, FOUND_BY: sorted({*asked[r]})})
        for r in sorted(asked)
    ]
    alone = LexicalIndex.build(kept, settings).search(questions, k)
    pairs = [
        ({documents[row].key for row in each}, {p.key for p in found})
        for each, found in zip(rows, alone, strict=True)
    ]
    share = sum(len(whole & again) for whole, again in pairs) / sum(len(whole) for whole, _ in pairs)
    return Narrowed(tuple(kept), total, share)


class AsNarrowed(LexicalIndex):
    """The index of a narrowed corpus, in which each question that it was narrowed to finds the documents that it found in the
    whole corpus and no others, ranked among themselves. Any other question finds what it would anyway."""

    def __init__(self, index: LexicalIndex) -> None:
        super().__init__(index.scorer, index.documents, index.settings, keep_alive=index)
        self._terms = set(index.documents["metadata"].combine_chunks().values.dictionary.to_pylist())

    def search(self, questions: Sequence[str], k: int, where: Filter | None = None) -> list[list[Passage]]:
        return [
            super(AsNarrowed, self).search([question], k, self._found_by(question, where))[0]
            for question in questions
        ]

    def _found_by(self, question: str, where: Filter | None) -> Filter | None:
        mine = Filter.parse({FOUND_BY: _mark(question)})
        if not any(term in self._terms for condition in mine.conditions for term in condition):
            return where
        return mine & where if where else mine


def _mark(question: str) -> str:
    return digest(question)[:16]


class QuestionWords:
    """Where the words of some questions stand in a corpus that is read once; then, for each question, its best documents."""

    def __init__(self, questions: Sequence[str], settings: RetrievalConfig) -> None:
        self._analyze = make_analyzer(settings.stemmer, settings.stopwords)
        self._k1, self._b = settings.k1, settings.b
        self._questions = [Counter(self._analyze(question)) for question in questions]
        self._places: dict[str, tuple[array[int], array[int]]] = {
            term: (array("q"), array("i")) for question in self._questions for term in question
        }  # term → (rows, how often there)
        self._lengths = array("i")

    def add(self, document: Document) -> None:
        terms = self._analyze(f"{document.title} {document.text}")
        for term, count in Counter(term for term in terms if term in self._places).items():
            rows, counts = self._places[term]
            rows.append(len(self._lengths))
            counts.append(count)
        self._lengths.append(len(terms))

    @property
    def num_documents(self) -> int:
        return len(self._lengths)

    def best(self, k: int) -> list[list[int]]:
        """For each question the numbers of its k best documents (0: the first that was added), best first; fewer where fewer
        share a word with it."""
        lengths = np.frombuffer(self._lengths, np.int32) if self._lengths else np.zeros(0, np.int32)
        return [self._best(question, lengths, k) for question in self._questions]

    def _best(self, question: Counter[str], lengths: np.ndarray, k: int) -> list[int]:
        """Lucene's BM25, over the documents that share a word with the question."""
        found = {
            term: tuple(map(np.asarray, self._places[term])) for term in question if self._places[term][0]
        }
        if not found:
            return []
        rows = np.unique(np.concatenate([places for places, _ in found.values()]))
        total = np.zeros(len(rows))
        for term, (places, counts) in found.items():
            idf = math.log(1 + (len(lengths) - len(places) + 0.5) / (len(places) + 0.5))
            norm = self._k1 * (1 - self._b + self._b * lengths[places] / lengths.mean())
            total[np.searchsorted(rows, places)] += question[term] * idf * counts / (counts + norm)
        return [int(row) for row in rows[np.lexsort((rows, -total))[:k]]]
