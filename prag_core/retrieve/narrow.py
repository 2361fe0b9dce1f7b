"""Of a corpus too large to parameterize, the passages that a set of questions retrieves.

Two passes over the corpus and no index: only the questions' own words are counted, so that memory is the documents' lengths (4
bytes each), those words' places, and what reading a corpus takes. Scores are exactly those of `LexicalIndex` over the whole
corpus; equal ones count in the order of the corpus.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prag_core.config import CorpusConfig, RetrievalConfig
from prag_core.corpus import read_corpus
from prag_core.errors import CorpusError
from prag_core.records import Document
from prag_core.retrieve.lexical import LexicalIndex
from prag_core.retrieve.words import make_analyzer


@dataclass(frozen=True)
class Narrowed:
    """The documents that any question retrieves, in the order of the corpus, and how many there were to choose from. `kept`: the
    share of what the questions retrieve from the whole corpus that they also retrieve from these documents alone."""

    documents: tuple[Document, ...]
    corpus_documents: int
    kept: float


def narrow_corpus(corpus: CorpusConfig, questions: Sequence[str], settings: RetrievalConfig, k: int) -> Narrowed:
    """The `k` best documents of the corpus for each question. Raises CorpusError where none shares a word with any."""
    words = QuestionWords(questions, settings)
    for document in read_corpus(corpus):
        words.add(document)
    best = words.best(k)
    wanted = {row for rows in best for row in rows}
    if not wanted:
        raise CorpusError(f"corpus.uri={corpus.uri}: no document shares a word with any of the {len(questions)} questions")
    found = {row: document for row, document in enumerate(read_corpus(corpus)) if row in wanted}
    again = LexicalIndex.build(found.values(), settings).search(questions, k)
    pairs = [({found[row].key for row in rows}, {p.key for p in passages}) for rows, passages in zip(best, again, strict=True)]
    kept = sum(len(whole & alone) for whole, alone in pairs) / sum(len(whole) for whole, _ in pairs)
    return Narrowed(tuple(found.values()), words.num_documents, kept)


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
        found = {term: tuple(map(np.asarray, self._places[term])) for term in question if self._places[term][0]}
        if not found:
            return []
        rows = np.unique(np.concatenate([places for places, _ in found.values()]))
        total = np.zeros(len(rows))
        for term, (places, counts) in found.items():
            idf = math.log(1 + (len(lengths) - len(places) + 0.5) / (len(places) + 0.5))
            norm = self._k1 * (1 - self._b + self._b * lengths[places] / lengths.mean())
            total[np.searchsorted(rows, places)] += question[term] * idf * counts / (counts + norm)
        return [int(row) for row in rows[np.lexsort((rows, -total))[:k]]]
