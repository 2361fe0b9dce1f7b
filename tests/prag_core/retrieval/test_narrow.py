"""Narrowing a corpus keeps exactly what retrieval over the whole of it finds for the questions."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest

from prag_core.config.schema import CorpusConfig, RetrievalConfig
from prag_core.corpus.reader import read_corpus
from prag_core.errors import CorpusError
from prag_core.retrieval.bm25 import LexicalIndex
from prag_core.retrieval.filters import Filter
from prag_core.retrieval.narrow import AsNarrowed, narrow_corpora, narrow_corpus

WORDS = [*(f"word{i}" for i in range(60)), "the", "of"]


@pytest.fixture
def corpus(tmp_path: Path) -> CorpusConfig:
    generator = random.Random(3)
    skewed = [1 / (i + 1) for i in range(len(WORDS))]
    texts = [" ".join(generator.choices(WORDS, skewed, k=generator.randint(1, 60))) for _ in range(300)]
    rows = [
        {"doc_id": f"d{i:03}", "title": generator.choice(WORDS), "text": text, "even": i % 2 == 0}
        for i, text in enumerate(texts)
    ]
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return CorpusConfig(uri=str(tmp_path / "corpus.jsonl"))


@pytest.mark.parametrize(
    "settings", [RetrievalConfig(), RetrievalConfig(k1=0.9, b=0.4, stemmer=None, stopwords=None)]
)
def test_what_is_kept_is_what_an_index_of_the_whole_corpus_finds(
    corpus: CorpusConfig, settings: RetrievalConfig
) -> None:
    questions = [
        "of the",
        "Which word40 has word3?",
        "word7 word7 word12",
        "word1 unheard",
        "word59 word0 word20 word33",
    ]
    index = LexicalIndex.build(read_corpus(corpus), settings)
    for k in (1, 3, 8):
        narrowed = narrow_corpus(corpus, questions, settings, k)
        expected = {passage.doc_id for found in index.search(questions, k) for passage in found}
        assert {document.doc_id for document in narrowed.documents} == expected
        assert [d.doc_id for d in narrowed.documents] == sorted(expected)
        assert narrowed.corpus_documents == 300
        assert 1 / 3 < narrowed.kept <= 1
    everything = narrow_corpus(corpus, questions, settings, 300)
    assert everything.kept == 1


def test_over_what_was_kept_a_question_finds_what_it_found_in_the_whole_corpus(corpus: CorpusConfig) -> None:
    questions = [f"{a} {b}" for a, b in zip(WORDS[::2], WORDS[1::3], strict=False)]
    whole = LexicalIndex.build(read_corpus(corpus), RetrievalConfig())
    kept = LexicalIndex.build(
        narrow_corpus(corpus, questions, RetrievalConfig(), 3).documents, RetrievalConfig()
    )
    expected = [{passage.doc_id for passage in found} for found in whole.search(questions, 3)]
    plain = [{passage.doc_id for passage in found} for found in kept.search(questions, 3)]
    narrowed = AsNarrowed(kept)
    assert (
        [{passage.doc_id for passage in found} for found in narrowed.search(questions, 3)]
        == expected
        != plain
    )
    other = ["word1 word2 word3", "unheard"]
    assert narrowed.search(other, 5) == kept.search(other, 5)
    even = Filter.parse({"even": True})
    for found, all_found in zip(narrowed.search(questions, 3, even), expected, strict=True):
        assert {passage.doc_id for passage in found} == {
            doc_id for doc_id in all_found if int(doc_id[1:]) % 2 == 0
        }


def test_several_sets_of_questions_are_narrowed_as_each_alone(corpus: CorpusConfig) -> None:
    sets = {"a": ["word40 word3", "word7"], "b": ["word12 word1"], "c": ["word7", "word59"]}
    together = narrow_corpora(corpus, sets, RetrievalConfig(), 2)
    assert together == {
        name: narrow_corpus(corpus, questions, RetrievalConfig(), 2) for name, questions in sets.items()
    }
    with pytest.raises(CorpusError, match="any of the 1 questions of d"):
        narrow_corpora(corpus, {**sets, "d": ["unheard"]}, RetrievalConfig(), 2)


def test_questions_that_find_nothing_are_refused(corpus: CorpusConfig) -> None:
    assert narrow_corpus(corpus, ["unheard of", "word1"], RetrievalConfig(), 2).kept > 0
    with pytest.raises(
        CorpusError, match=r"corpus\.jsonl: no document shares a word with any of the 1 questions"
    ):
        narrow_corpus(corpus, ["unheard of"], RetrievalConfig(), 3)


@pytest.mark.skipif("PRAG_CORPORA" not in os.environ, reason="PRAG_CORPORA is not set")
def test_on_hotpotqa_too_it_is_what_the_index_finds() -> None:
    folder = Path(os.environ["PRAG_CORPORA"])
    lines = (folder / "hotpot_questions.jsonl").read_text(encoding="utf-8").splitlines()
    questions = [json.loads(line)["question"] for line in lines]
    corpus = CorpusConfig(uri=str(folder / "hotpot_corpus.jsonl"))
    found = LexicalIndex.build(read_corpus(corpus), RetrievalConfig()).search(questions, 3)
    narrowed = narrow_corpus(corpus, questions, RetrievalConfig(), 3)
    assert {document.doc_id for document in narrowed.documents} == {
        passage.doc_id for three in found for passage in three
    }
    assert narrowed.kept > 0.9
