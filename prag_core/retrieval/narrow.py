"""A hand-written BM25 for narrowing a corpus: bm25s would have to index all of it, and only the questions' words are needed.

Narrowing takes, of a corpus too large to parameterize, the passages that a set of questions retrieves, in two passes over the
corpus. Memory is the documents' lengths (8 bytes each), the places of the questions' words, and what reading a corpus takes.
Scores are those of `LexicalIndex` over the whole corpus (a test holds them equal); ties go by the order of the corpus.

The metadata of a kept document say which questions retrieved it (`found_by`). Over the kept documents alone other words are
rare and common; with that field `AsNarrowed` still retrieves for these questions what they retrieved from the whole corpus.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from prag_core.config.schema import CorpusConfig, RetrievalConfig
from prag_core.corpus.reader import read_corpus
from prag_core.errors import CorpusError
from prag_core.identity import digest
from prag_core.records import Document, Passage
from prag_core.retrieval.analyzer import Analyzer
from prag_core.retrieval.bm25 import LexicalIndex
from prag_core.retrieval.filters import Filter

FOUND_BY = "found_by"  # in a kept document's metadata: the marks of the questions that retrieved it


@dataclass(frozen=True)
class Narrowed:
    """The documents that any question retrieves, in the order of the corpus."""

    documents: tuple[Document, ...]
    corpus_documents: int  # how many there were to choose from
    rejected: int  # rows of the corpus that are no usable document
    kept: float  # share of what the questions retrieve from the whole corpus that they retrieve from these documents alone

    def summary(self) -> str:
        """State how many documents were kept, and how much of the whole corpus's retrieval they preserve."""
        share = f"{100 * self.kept:.1f} % of what the questions retrieve from the whole corpus"
        count = f"{len(self.documents):,} of {self.corpus_documents:,} documents"
        if self.rejected:
            count += f" (rejected rows of the corpus: {self.rejected:,}; prag plan names them)"
        return f"{count}; retrieval from these alone finds {share}"


def narrow_corpus(
    corpus: CorpusConfig, questions: Sequence[str], settings: RetrievalConfig, k: int
) -> Narrowed:
    """The `k` best documents of the corpus for each question. Raises CorpusError if no document shares a word with any."""
    return narrow_corpora(corpus, {"": questions}, settings, k)[""]


def narrow_corpora(
    corpus: CorpusConfig, questions: Mapping[str, Sequence[str]], settings: RetrievalConfig, k: int
) -> dict[str, Narrowed]:
    """Narrow a corpus to each of several sets of questions, by name, in as many passes as for one set."""
    words = QuestionWords([question for asked in questions.values() for question in asked], settings)
    reader = read_corpus(corpus)
    for document in reader:
        words.add(document)
    best = iter(words.best(k))
    rows = {name: list(islice(best, len(asked))) for name, asked in questions.items()}
    wanted = {row for best_rows in rows.values() for each in best_rows for row in each}
    documents = {row: document for row, document in enumerate(read_corpus(corpus)) if row in wanted}
    for name, best_rows in rows.items():
        if not any(best_rows):
            which = f" of {name}" if name else ""
            raise CorpusError(
                f"corpus.uri={corpus.uri}: no document shares a word with any of the {len(best_rows)} questions{which}"
            )
    narrowed = {}
    for name, asked in questions.items():
        kept = _mark_documents(rows[name], documents, asked)
        share = _preserved(rows[name], documents, kept, asked, settings, k)
        narrowed[name] = Narrowed(tuple(kept), words.num_documents, reader.counts.rejected, share)
    return narrowed


def _mark_documents(
    rows: Sequence[Sequence[int]], documents: Mapping[int, Document], questions: Sequence[str]
) -> list[Document]:
    """The documents of these rows, in the order of the corpus, each with the questions that retrieved it."""
    marks: dict[int, set[str]] = {}
    for question, each in zip(questions, rows, strict=True):
        for row in each:
            marks.setdefault(row, set()).add(_mark(question))
    return [
        replace(documents[row], metadata={**documents[row].metadata, FOUND_BY: sorted(marks[row])})
        for row in sorted(marks)
    ]


def _preserved(
    rows: Sequence[Sequence[int]],
    documents: Mapping[int, Document],
    kept: Sequence[Document],
    questions: Sequence[str],
    settings: RetrievalConfig,
    k: int,
) -> float:
    """The share of what the questions retrieve from the whole corpus that they retrieve from the kept documents alone."""
    alone = LexicalIndex.build(kept, settings).search(questions, k)
    shared = sum(
        len({documents[row].key for row in each} & {passage.key for passage in passages})
        for each, passages in zip(rows, alone, strict=True)
    )
    return shared / sum(len(each) for each in rows)


class AsNarrowed(LexicalIndex):
    """The index of a narrowed corpus that gives each question it was narrowed to the documents it retrieved from the whole
    corpus, and no others, ranked among themselves. Any other question retrieves what it would from any index."""

    def __init__(self, index: LexicalIndex) -> None:
        super().__init__(index.scorer, index.stop_scorer, index.documents, index.settings, keep_alive=index)
        self._terms = set(index.documents["metadata"].combine_chunks().values.dictionary.to_pylist())

    def search(self, questions: Sequence[str], k: int, where: Filter | None = None) -> list[list[Passage]]:
        return [
            super(AsNarrowed, self).search([question], k, self._found_by(question, where))[0]
            for question in questions
        ]

    def _found_by(self, question: str, where: Filter | None) -> Filter | None:
        found_by = Filter.parse({FOUND_BY: _mark(question)})
        if not any(term in self._terms for condition in found_by.conditions for term in condition):
            return where
        return found_by & where if where else found_by


def _mark(question: str) -> str:
    return digest(question)[:16]


class QuestionWords:
    """Postings of the questions' words in a corpus that is read once, and from them the best documents for each question.

    A question of stop words only is scored by these, over the documents' stop words, as `LexicalIndex` does.
    """

    def __init__(self, questions: Sequence[str], settings: RetrievalConfig) -> None:
        self._analyze = Analyzer(settings.stemmer, settings.stopwords)
        split = [self._analyze.split(question) for question in questions]
        self._questions = [(bool(words), Counter(words or stops)) for words, stops in split]
        self._words = _Postings({term for is_words, terms in self._questions if is_words for term in terms})
        self._stops = _Postings(
            {term for is_words, terms in self._questions if not is_words for term in terms}
        )
        self._k1, self._b = settings.k1, settings.b

    def add(self, document: Document) -> None:
        words, stops = self._analyze.split(f"{document.title} {document.text}")
        self._words.add(words)
        self._stops.add(stops)

    @property
    def num_documents(self) -> int:
        return len(self._words)

    def best(self, k: int) -> list[list[int]]:
        """The numbers of the k best documents for each question (0: the first that was added), best first; fewer if fewer
        share a word with it."""
        return [
            (self._words if is_words else self._stops).best(terms, k, self._k1, self._b)
            for is_words, terms in self._questions
        ]


class _Postings:
    """Postings of some terms, and the documents' lengths in terms."""

    def __init__(self, terms: Iterable[str]) -> None:
        self._places = {term: (array("q"), array("i")) for term in terms}  # term → (rows, counts there)
        self._lengths = array("i")

    def __len__(self) -> int:
        return len(self._lengths)

    def add(self, terms: Sequence[str]) -> None:
        for term, count in Counter(term for term in terms if term in self._places).items():
            rows, counts = self._places[term]
            rows.append(len(self._lengths))
            counts.append(count)
        self._lengths.append(len(terms))

    def best(self, question: Counter[str], k: int, k1: float, b: float) -> list[int]:
        """The k rows with the highest BM25 (Lucene's), of those that share a term with the question."""
        lengths = np.frombuffer(self._lengths, np.int32) if self._lengths else np.zeros(0, np.int32)
        postings = {
            term: tuple(map(np.asarray, self._places[term])) for term in question if self._places[term][0]
        }
        if not postings:
            return []
        rows = np.unique(np.concatenate([places for places, _ in postings.values()]))
        total = np.zeros(len(rows))
        for term, (places, counts) in postings.items():
            idf = math.log(1 + (len(lengths) - len(places) + 0.5) / (len(places) + 0.5))
            norm = k1 * (1 - b + b * lengths[places] / lengths.mean())
            total[np.searchsorted(rows, places)] += question[term] * idf * counts / (counts + norm)
        return [int(row) for row in rows[np.lexsort((rows, -total))[:k]]]
