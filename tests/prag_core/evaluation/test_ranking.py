import math
import random

import pytest

from prag_core.evaluation.ranking import ranked_documents, score_ranking
from prag_core.records import Passage, Question


def passages(*doc_ids: str) -> list[Passage]:
    return [
        Passage(doc_id, chunk, "", "", 1.0) for chunk, doc_id in enumerate(doc_ids)
    ]  # equal scores: order is what counts


def question(question_id: str, *gold: str) -> Question:
    return Question(question_id, "?", ("x",), gold)


def by_hand(gold: set[str], ranked: list[str], k: int) -> dict[str, float]:
    hits = [doc_id in gold for doc_id in ranked[:k]]
    ideal = sum(1 / math.log2(i + 2) for i in range(min(k, len(gold))))
    return {
        f"recall@{k}": sum(hits) / len(gold),
        f"hit@{k}": float(any(hits)),
        f"mrr@{k}": 1 / (hits.index(True) + 1) if any(hits) else 0.0,
        f"ndcg@{k}": sum(hit / math.log2(i + 2) for i, hit in enumerate(hits)) / ideal,
    }


def test_measures_are_those_written_out_in_python() -> None:
    generator = random.Random(0)
    documents = [f"d{i}" for i in range(15)]
    questions = [question(f"q{i}", *generator.sample(documents, generator.randint(1, 4))) for i in range(25)]
    found = [generator.sample(documents, generator.randint(0, 12)) for _ in questions]
    scores = score_ranking(questions, [passages(*ids) for ids in found], depths=(1, 3, 10))
    for k in (1, 3, 10):
        each = [by_hand(set(q.gold_doc_ids), ids, k) for q, ids in zip(questions, found, strict=True)]
        for name in each[0]:
            assert scores[name] == pytest.approx(sum(one[name] for one in each) / len(each)), name


def test_a_document_counts_once_where_its_best_chunk_ranks() -> None:
    assert ranked_documents(passages("a", "b", "a", "c")) == ["a", "b", "c"]
    scores = score_ranking([question("q", "c")], [passages("a", "a", "a", "c")], depths=(2,))
    assert scores["recall@2"] == 1.0
    assert scores["mrr@2"] == 0.5


def test_questions_that_find_nothing_count_as_misses_and_unlabelled_ones_not_at_all() -> None:
    questions = [question("found", "a"), question("missed", "b"), question("unlabelled")]
    assert score_ranking(questions, [passages("a"), [], passages("c")])["recall@3"] == 0.5
    assert score_ranking(questions[2:], [passages("c")]) == {}


def test_ids_of_any_characters_are_told_apart() -> None:
    assert score_ranking([question("q 1\n", "a b\x00c")], [passages("a b\x00d", "a b\x00c")])["mrr@3"] == 0.5
