"""The handbook keeps its promises: it loads without a rejected row, every answer is in a passage, and dev and test share none."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from prag_core.config.schema import CorpusConfig, EvaluateConfig
from prag_core.corpus.reader import read_corpus
from prag_core.evaluation.metrics import extract_answer, normalise, score
from prag_core.questions.reader import load_questions, load_unseen
from prag_core.records import Document, Question

FOLDER = Path(__file__).parents[2] / "examples" / "handbook"
SPLITS = ("dev", "test")
TYPES = {"single": 0.60, "two_hop": 0.17, "comparison": 0.13, "unanswerable": 0.10}


def path(split: str) -> str:
    return str(FOLDER / f"questions.{split}.jsonl")


def phrases(text: str, length: int) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + length]) for i in range(len(words) - length + 1)}


@pytest.fixture(scope="module")
def documents() -> dict[str, Document]:
    reader = read_corpus(CorpusConfig(uri=str(FOLDER / "corpus.jsonl"), max_rejected=0))
    read = {document.doc_id: document for document in reader}
    assert len(read) == reader.counts.rows, "a row is rejected or there twice"
    return read


@pytest.fixture(scope="module")
def questions() -> dict[str, list[Question]]:
    return {split: load_questions(path(split)) for split in SPLITS}


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    lines = [line for split in SPLITS for line in Path(path(split)).read_text(encoding="utf-8").splitlines()]
    return [json.loads(line) for line in lines]


def test_the_corpus_has_about_a_hundred_passages_of_60_to_180_words(documents: dict[str, Document]) -> None:
    assert 96 <= len(documents) <= 110
    assert len({document.title for document in documents.values()}) == len(documents)
    for document in documents.values():
        assert 60 <= len(document.text.split()) <= 180, document.doc_id
        assert {"kind", "date", "split"} <= document.metadata.keys()


def test_no_two_passages_share_eight_words_in_a_row(documents: dict[str, Document]) -> None:
    first: dict[tuple[str, ...], str] = {}
    for document in documents.values():
        for phrase in phrases(document.text, 8):
            assert first.setdefault(phrase, document.doc_id) == document.doc_id, (document.doc_id, phrase)


def test_a_newer_version_names_the_earlier_one(documents: dict[str, Document]) -> None:
    newer = [document for document in documents.values() if "replaces" in document.metadata]
    assert len(newer) >= 10
    for document in newer:
        earlier = documents[document.metadata["replaces"]]
        assert earlier.metadata["date"] < document.metadata["date"]
        assert earlier.metadata["split"] == document.metadata["split"]


def test_question_types_have_their_shares_in_both_splits(questions: dict[str, list[Question]]) -> None:
    dev, test = (len(questions[split]) for split in SPLITS)
    assert dev + test >= 220 and test >= 130
    assert 0.35 <= dev / (dev + test) <= 0.45
    for split in SPLITS:
        counts = Counter(question.type for question in questions[split])
        assert counts.keys() == TYPES.keys()
        for name, share in TYPES.items():
            assert abs(counts[name] / len(questions[split]) - share) < 0.03, (split, name)


def test_dev_and_test_share_no_document_and_no_question(
    documents: dict[str, Document], questions: dict[str, list[Question]]
) -> None:
    asked = {
        split: {doc_id for question in questions[split] for doc_id in question.gold_doc_ids}
        for split in SPLITS
    }
    for split in SPLITS:
        labelled = {d.doc_id for d in documents.values() if d.metadata["split"] == split}
        assert asked[split] == labelled, "every passage is asked about, in its own split only"
    assert load_unseen(path("dev"), None, "evaluate.questions", EvaluateConfig(questions=path("test"))), (
        "raises where a question is in both"
    )


def test_every_asked_fact_is_marked_in_the_words_of_its_passage(
    documents: dict[str, Document], rows: list[dict[str, Any]]
) -> None:
    for row in rows:
        assert [fact["doc_id"] for fact in row["facts"]] == row["gold_doc_ids"], row["question_id"]
        for fact in row["facts"]:
            assert fact["text"] in documents[fact["doc_id"]].text, row["question_id"]


def test_every_answer_is_in_a_gold_passage(
    documents: dict[str, Document], rows: list[dict[str, Any]]
) -> None:
    for row in rows:
        answer = normalise(row["answers"][0])
        if row["type"] in ("single", "two_hop"):
            assert len(row["gold_doc_ids"]) == (1 if row["type"] == "single" else 2)
            assert answer in normalise(row["facts"][-1]["text"]), row["question_id"]
        elif row["type"] == "comparison" and answer not in ("yes", "no"):
            gold = [documents[doc_id] for doc_id in row["gold_doc_ids"]]
            assert any(answer in normalise(f"{d.title} {d.text}") for d in gold), row["question_id"]


def test_answers_survive_the_scorers_cut(questions: dict[str, list[Question]]) -> None:
    for question in (question for split in SPLITS for question in questions[split]):
        canonical = question.answers[0]
        assert extract_answer(canonical) == canonical, question.question_id
        assert score(canonical, question.answers).em == 1.0


def test_unanswerable_questions_have_no_gold_and_accept_refusals_alone(
    questions: dict[str, list[Question]],
) -> None:
    for question in (question for split in SPLITS for question in questions[split]):
        unanswerable = question.type == "unanswerable"
        assert bool(question.gold_doc_ids) != unanswerable
        assert (score("noanswer", question.answers).em == 1.0) == unanswerable
        assert (score("not stated", question.answers).em == 1.0) == unanswerable


def test_no_two_facts_of_a_passage_have_the_same_answer(rows: list[dict[str, Any]]) -> None:
    """Otherwise a generated pair about the one fact would count as having asked the other."""
    owners: dict[tuple[str, str], str] = {}
    for row in (row for row in rows if row["type"] == "single"):
        for answer in {normalise(answer) for answer in row["answers"]}:
            owner = owners.setdefault((row["gold_doc_ids"][0], answer), row["question_id"])
            assert owner == row["question_id"], (owner, row["question_id"])


def test_questions_do_not_copy_their_passages(
    documents: dict[str, Document], rows: list[dict[str, Any]]
) -> None:
    for row in rows:
        written = set().union(*(phrases(documents[doc_id].text, 6) for doc_id in row["gold_doc_ids"]))
        assert not phrases(row["question"], 6) & written, row["question_id"]
