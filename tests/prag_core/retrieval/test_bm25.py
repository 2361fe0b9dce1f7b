import json
import math
import os
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from prag_core.config.schema import RetrievalConfig
from prag_core.errors import ConfigError
from prag_core.evaluation.ranking import score_ranking
from prag_core.questions.reader import load_questions
from prag_core.records import Document
from prag_core.retrieval.bm25 import LexicalIndex, best_rows
from prag_core.retrieval.filters import Filter

PLAIN = RetrievalConfig(stemmer=None, stopwords=None)
WORDS = [f"w{i}" for i in range(30)]


def corpus(count: int, seed: int = 0) -> list[Document]:
    generator = random.Random(seed)
    skewed = [1 / (i + 1) for i in range(len(WORDS))]
    return [
        Document(
            f"d{i}",
            " ".join(generator.choices(WORDS, skewed, k=generator.randint(1, 40))),
            title=generator.choice(WORDS),
        )
        for i in range(count)
    ]


def bm25_by_hand(documents: list[Document], question: str, k1: float, b: float) -> dict[str, float]:
    """Lucene's BM25, written out: sum over the question's words of idf · tf / (tf + k1 · (1 - b + b · length / mean))."""
    bags = {d.doc_id: Counter(f"{d.title} {d.text}".split()) for d in documents}
    mean = sum(bag.total() for bag in bags.values()) / len(bags)
    scores = dict.fromkeys(bags, 0.0)
    for word in question.split():
        frequency = sum(word in bag for bag in bags.values())
        idf = math.log(1 + (len(bags) - frequency + 0.5) / (frequency + 0.5))
        for doc_id, bag in bags.items():
            scores[doc_id] += idf * bag[word] / (bag[word] + k1 * (1 - b + b * bag.total() / mean))
    return scores


@pytest.mark.parametrize(("k1", "b"), [(1.2, 0.75), (0.9, 0.4), (2.0, 0.0)])
def test_scores_and_order_are_those_of_bm25_written_out(k1: float, b: float) -> None:
    documents = corpus(60)
    index = LexicalIndex.build(documents, RetrievalConfig(k1=k1, b=b, stemmer=None, stopwords=None))
    for question in ("w0", "w3 w17", "w29 w1 w1", "w5 unknown w8"):
        expected = bm25_by_hand(documents, question, k1, b)
        (found,) = index.search([question], len(documents))
        assert {p.doc_id for p in found} == {doc_id for doc_id, score in expected.items() if score > 0}
        assert [p.score for p in found] == pytest.approx([expected[p.doc_id] for p in found], rel=1e-5)
        assert [p.score for p in found] == sorted((p.score for p in found), reverse=True)


def test_passages_carry_their_document() -> None:
    document = Document("id", "a text", "A Title", chunk=3)
    (found,) = LexicalIndex.build([document, Document("other", "x")], PLAIN).search(["title"], 1)
    assert [(p.doc_id, p.chunk, p.title, p.text) for p in found] == [("id", 3, "A Title", "a text")]


def test_the_answer_does_not_depend_on_the_order_of_building_and_ties_go_by_key() -> None:
    documents = [*corpus(40), *(Document(f"same{i}", "twin twin", chunk=c) for i in (10, 9) for c in (1, 0))]
    shuffled = random.Random(1).sample(documents, len(documents))
    one, two = (
        LexicalIndex.build(order, PLAIN).search(["w1 w2", "twin"], 30) for order in (documents, shuffled)
    )
    assert one == two
    assert [p.key for p in one[1]] == [("same10", 0), ("same10", 1), ("same9", 0), ("same9", 1)]


def test_a_cut_through_equal_scores_keeps_the_first_keys() -> None:
    index = LexicalIndex.build(
        [Document(f"d{i:02}", "twin") for i in range(20)] + [Document("e", "x")], PLAIN
    )
    assert [p.doc_id for p in index.search(["twin"], 3)[0]] == ["d00", "d01", "d02"]


def test_best_rows_are_those_of_a_full_sort() -> None:
    generator = np.random.default_rng(0)
    for k in (1, 3, 10, 100):
        scores = generator.integers(0, 6, 50).astype(np.float32)
        full = [row for row in sorted(range(50), key=lambda row: (-scores[row], row)) if scores[row] > 0]
        assert best_rows(scores, k).tolist() == full[:k]


def test_documents_that_share_no_word_are_never_returned() -> None:
    index = LexicalIndex.build([Document("a", "cats"), Document("b", "dogs")], PLAIN)
    assert [[p.doc_id for p in found] for found in index.search(["cats", "fish", "", "?!"], 5)] == [
        ["a"],
        [],
        [],
        [],
    ]


@pytest.mark.parametrize("documents", [[], [Document("a", "_?!")], [Document("a", "…")]])
def test_a_corpus_without_words_answers_nothing(documents: list[Document]) -> None:
    index = LexicalIndex.build(documents, RetrievalConfig())
    assert index.search(["the", "anything"], 3) == [[], []]
    assert len(index) == len(documents)


def test_a_question_of_stop_words_only_is_searched_as_it_is() -> None:
    documents = [
        Document("band", "The Who are an English rock band.", "The Who"),
        Document("river", "The Rhine is a river. It flows to the sea, and it is long."),
        Document("ada", "Ada Lovelace, mathematician."),
    ]
    index = LexicalIndex.build(documents, RetrievalConfig())
    (found,) = index.search(["Who are The Who?"], 3)
    assert [p.doc_id for p in found] == ["band", "river"]


def test_stop_words_do_not_count_beside_other_words() -> None:
    index = LexicalIndex.build([Document("a", "who who who"), Document("b", "bread")], RetrievalConfig())
    with_stops, without = index.search(["Who made the bread?", "made bread"], 5)
    assert with_stops == without and [p.doc_id for p in without] == ["b"]


def test_stop_words_are_scored_as_bm25_over_the_stop_words_of_documents() -> None:
    stops = ["who", "are", "the", "a"]
    generator = random.Random(4)
    documents = [
        Document(f"d{i}", " ".join(generator.choices([*stops, "w1", "w2"], k=12))) for i in range(30)
    ]
    only_stops = [
        Document(d.doc_id, " ".join(word for word in d.text.split() if word in stops)) for d in documents
    ]
    settings = RetrievalConfig(stemmer=None)
    expected = LexicalIndex.build(only_stops, PLAIN).search(["who are the who"], 30)
    assert LexicalIndex.build(documents, settings).search(["who are the who"], 30) == [
        [replace(p, text=documents[int(p.doc_id[1:])].text) for p in expected[0]]
    ]


def test_a_batch_answers_as_its_questions_alone() -> None:
    index = LexicalIndex.build(corpus(30), PLAIN)
    questions = ["w1", "w2 w3", "w9"]
    assert index.search(questions, 4) == [index.search([question], 4)[0] for question in questions]


def test_a_filter_is_applied_before_the_best_are_taken_and_leaves_scores_alone() -> None:
    documents = [replace(d, metadata={"even": i % 2 == 0, "third": i % 3}) for i, d in enumerate(corpus(60))]
    index = LexicalIndex.build(documents, PLAIN)
    for fields in ({"even": True}, {"third": [0, 2]}, {"even": False, "third": 1}, {"other": 1}):
        where = Filter.parse(fields)
        allowed = {d.doc_id for d in documents if where.allows(d.metadata)}
        for question in ("w0", "w3 w17", "w29 w1 w1"):
            everything = index.search([question], 60)[0]
            for k in (1, 4, 60):
                expected = [passage for passage in everything if passage.doc_id in allowed][:k]
                assert index.search([question], k, where)[0] == expected


def test_a_document_is_looked_up_by_its_id_with_all_its_chunks_or_not_at_all() -> None:
    documents = [
        Document(f"d{i}", f"text {i}.{c}", chunk=c, metadata={"tenant": i % 2})
        for i in range(5)
        for c in (1, 0)
    ]
    index = LexicalIndex.build(documents, PLAIN)
    assert [p.key for p in index.look_up(["d3", "d0", "d3"])] == [("d3", 0), ("d3", 1), ("d0", 0), ("d0", 1)]
    assert [p.text for p in index.look_up(["d4"])] == ["text 4.0", "text 4.1"]
    mine = Filter.parse({"tenant": 0})
    assert [p.key for p in index.look_up(["d3", "d2", "absent", ""], mine)] == [("d2", 0), ("d2", 1)]


@pytest.mark.parametrize(
    ("settings", "named"),
    [(RetrievalConfig(k1=-1), r"retrieval\.k1=-1: "), (RetrievalConfig(b=1.5), r"retrieval\.b=1\.5: ")],
)
def test_settings_out_of_range_are_refused_by_name(settings: RetrievalConfig, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        LexicalIndex.build([Document("a", "b")], settings)


def test_asking_for_no_passage_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"retrieval\.top_k=0"):
        LexicalIndex.build([Document("a", "b")], PLAIN).search(["b"], 0)


@pytest.mark.skipif("PRAG_CORPORA" not in os.environ, reason="PRAG_CORPORA is not set")
def test_the_defaults_find_hotpotqa_documents_at_least_as_well_as_plain_bm25() -> None:
    folder = Path(os.environ["PRAG_CORPORA"])
    rows = map(json.loads, (folder / "hotpot_corpus.jsonl").read_text(encoding="utf-8").splitlines())
    index = LexicalIndex.build(
        (Document(row["doc_id"], row["text"], row["title"]) for row in rows), RetrievalConfig()
    )
    questions = load_questions(str(folder / "hotpot_questions.jsonl"))
    found = score_ranking(questions, index.search([question.question for question in questions], 10))
    assert found["recall@3"] >= 0.69
    assert found["recall@10"] >= 0.89
    assert found["mrr@10"] >= 0.88
