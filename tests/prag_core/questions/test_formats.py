"""Published question sets become questions and paragraphs, and what cannot be used is refused with file, record and field."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from prag_core.config.schema import CorpusConfig, CorpusFormat, QuestionFormat
from prag_core.corpus.reader import read_corpus
from prag_core.errors import CorpusError
from prag_core.questions.formats import paragraph_id
from prag_core.questions.reader import load_questions
from prag_core.records import Question

IRIS = ["Iris (film)", ["Iris is a film.", "It was directed by Bo."]]
BO = ["Bo", ["Bo is a director.", "Bo was born in Rome."]]
WIKI: dict[str, Any] = {
    "_id": "w1",
    "type": "compositional",
    "question": "Where was the director of Iris born?",
    "context": [IRIS, BO, ["Ada", ["Ada."]]],
    "supporting_facts": [["Iris (film)", 1], ["Bo", 1], ["Bo", 0]],
    "evidences": [["Iris", "director", "Bo"]],
    "answer": "Rome",
    "answer_id": "Q220",
}
HOTPOT: dict[str, Any] = {
    "_id": "h1",
    "type": "bridge",
    "level": "hard",
    "question": "Who made Iris?",
    "answer": "Bo",
    "supporting_facts": [["Bo", 0]],
    "context": [["Bo", ["Bo is a director.", " Bo was born in Rome."]]],
}
CWQ: dict[str, Any] = {
    "ID": "WebQTest-1_a",
    "question": "Which city …",
    "compositionality_type": "conjunction",
    "answers": [
        {"answer": "Rome", "aliases": ["Roma", "Rome"], "answer_id": "m.1"},
        {"answer": "Ostia", "aliases": []},
        {"answer": None, "aliases": ["Urbs"]},
    ],
}
POPQA = (
    "id\tsubj\tprop\tobj\tquestion\tpossible_answers\n"
    '42\tGeorge\toccupation\tpolitician\tWhat is George\'s occupation?\t"[""politician"", ""pol""]"\n'
    '7\tAda\tcapital\tRome\tWhat is the capital?\t"[""Rome""]"\n'
)


def write(path: Path, *records: Any) -> str:
    path.write_text(json.dumps(records, indent=1), encoding="utf-8")
    return str(path)


def test_2wiki_has_its_aliases_and_labels_the_paragraphs_of_its_supporting_facts(tmp_path: Path) -> None:
    uri = write(tmp_path / "dev.json", WIKI)
    labelled = (
        paragraph_id("Iris (film)", "Iris is a film. It was directed by Bo."),
        paragraph_id("Bo", "Bo is a director. Bo was born in Rome."),
    )
    assert load_questions(uri) == [Question("w1", WIKI["question"], ("Rome",), labelled, "compositional")]
    (tmp_path / "id_aliases.json").write_text(
        '{"Q_id": "Q220", "aliases": ["Roma", "Rome"], "demonyms": ["Roman"]}\n'
    )
    assert load_questions(uri)[0].answers == ("Rome", "Roma")


def test_hotpotqa_joins_sentences_that_carry_their_own_spaces(tmp_path: Path) -> None:
    (question,) = load_questions(write(tmp_path / "hotpot_dev_distractor_v1.json", HOTPOT))
    labelled = paragraph_id("Bo", "Bo is a director. Bo was born in Rome.")
    assert question == Question("h1", "Who made Iris?", ("Bo",), (labelled,), "bridge")


def test_popqa_takes_its_answers_from_json_inside_a_quoted_column(tmp_path: Path) -> None:
    (tmp_path / "popQA.tsv").write_text(POPQA)
    assert load_questions(str(tmp_path / "popQA.tsv")) == [
        Question("42", "What is George's occupation?", ("politician", "pol")),
        Question("7", "What is the capital?", ("Rome",)),
    ]


def test_cwq_accepts_every_answer_with_its_aliases_and_skips_what_has_no_name(tmp_path: Path) -> None:
    (question,) = load_questions(write(tmp_path / "ComplexWebQuestions_dev.json", CWQ))
    assert question == Question(
        "WebQTest-1_a", "Which city …", ("Rome", "Roma", "Ostia", "Urbs"), (), "conjunction"
    )


def test_a_named_format_wins_over_detection_and_files_may_be_compressed(tmp_path: Path) -> None:
    bare = {name: value for name, value in WIKI.items() if name not in ("evidences", "supporting_facts")}
    path = tmp_path / "dev.json.gz"
    path.write_bytes(gzip.compress(json.dumps([bare]).encode()))
    with pytest.raises(
        CorpusError, match=r"dev\.json\.gz record 1: of no known question set; set evaluate\.format"
    ):
        load_questions(str(path))
    assert load_questions(str(path), format=QuestionFormat["2wiki"])[0].gold_doc_ids == ()


def test_the_first_questions_of_a_type_are_those_of_the_file(tmp_path: Path) -> None:
    types = ["bridge", "comparison", "bridge", "comparison", "bridge"]
    uri = write(
        tmp_path / "q.json", *({**HOTPOT, "_id": f"h{i}", "type": kind} for i, kind in enumerate(types))
    )
    assert [q.question_id for q in load_questions(uri, limit=3)] == ["h0", "h1", "h2"]
    assert [q.question_id for q in load_questions(uri, limit=2, type="bridge")] == ["h0", "h2"]
    assert [q.question_id for q in load_questions(uri, limit=9, type="comparison")] == ["h1", "h3"]
    with pytest.raises(CorpusError, match=r"evaluate\.type=inference: .* its types are bridge, comparison"):
        load_questions(uri, type="inference")


@pytest.mark.parametrize(
    ("good", "changes", "message"),
    [
        (WIKI, {"_id": None}, "record 2: _id is missing"),
        (
            WIKI,
            {"question": " "},
            "record 2: question 'x': question is \" \"; expected text that is not empty",
        ),
        (WIKI, {"answer": 7.5}, "record 2: question 'x': answer is 7.5"),
        (WIKI, {"type": None}, "record 2: question 'x': type is missing"),
        (WIKI, {"context": {"title": []}}, "record 2: question 'x': context is .*expected a list of"),
        (
            WIKI,
            {"context": [BO, ["Ada", "no list"]]},
            "record 2: question 'x': context item 2 is .*expected .title, .sentence",
        ),
        (HOTPOT, {"supporting_facts": [3]}, "record 2: question 'x': supporting_facts is .3."),
        (CWQ, {"ID": None}, "record 2: ID is missing"),
        (CWQ, {"answers": "Rome"}, "record 2: question 'x': answers is \"Rome\"; expected a list"),
        (
            CWQ,
            {"answers": [{"answer": None, "aliases": []}]},
            "record 2: question 'x': answers is .*names no answer",
        ),
    ],
)
def test_an_unusable_field_is_named_with_file_and_record(
    tmp_path: Path, good: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    key = "ID" if "ID" in good else "_id"
    with pytest.raises(CorpusError, match=rf"q\.json {message}"):
        load_questions(write(tmp_path / "q.json", good, {**good, key: "x", **changes}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", r"q record 1: expected a JSON object, found 1"),
        ('[{"_id": "a"', r"q: not JSON: .*is the file complete"),
        ("[]", r"q: holds no questions"),
        (POPQA.replace("id\t", "no\t", 1), r"q line 1: no column id; PopQA's header has"),
        (
            POPQA.replace('"[""Rome""]"', "Rome"),
            r"q line 3: question '7': possible_answers is .*expected a JSON list",
        ),
        (POPQA.replace('"[""Rome""]"', "[]"), r"q line 3: question '7': possible_answers"),
    ],
)
def test_a_broken_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "q").write_text(text)
    with pytest.raises(CorpusError, match=message):
        load_questions(str(tmp_path / "q"))


def test_the_paragraphs_are_a_corpus_of_distinct_documents_that_the_labels_name(tmp_path: Path) -> None:
    other = {
        **WIKI,
        "_id": "w2",
        "context": [BO, ["Bo", ["Another Bo."]], ["Empty", [" "]]],
        "supporting_facts": [["Empty", 0]],
    }
    uri = write(tmp_path / "dev.json", WIKI, other)
    reader = read_corpus(CorpusConfig(uri=uri, format=CorpusFormat["2wiki"]))
    documents = list(reader)
    assert [(d.title, d.text) for d in documents] == [
        ("Iris (film)", "Iris is a film. It was directed by Bo."),
        ("Bo", "Bo is a director. Bo was born in Rome."),
        ("Ada", "Ada."),
        ("Bo", "Another Bo."),
    ]
    assert reader.counts.duplicates == 1
    ids = {document.doc_id for document in documents}
    assert len(ids) == 4
    first, second = load_questions(uri)
    assert set(first.gold_doc_ids) <= ids and len(first.gold_doc_ids) == 2 and second.gold_doc_ids == ()
    folder = read_corpus(CorpusConfig(uri=str(tmp_path), format=CorpusFormat["2wiki"]))
    assert [d.doc_id for d in folder] == [d.doc_id for d in documents]


def test_hotpotqa_paragraphs_are_joined_as_their_labels_are(tmp_path: Path) -> None:
    uri = write(tmp_path / "hotpot.json", HOTPOT)
    (document,) = read_corpus(CorpusConfig(uri=uri, format=CorpusFormat.hotpotqa))
    assert load_questions(uri)[0].gold_doc_ids == (document.doc_id,)
    with pytest.raises(
        CorpusError, match=r"hotpot\.json: no known suffix .* set corpus\.format to one of .*2wiki, hotpotqa"
    ):
        list(read_corpus(CorpusConfig(uri=uri)))


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (WIKI, "w1"),
        (HOTPOT, "h1"),
        (CWQ, "WebQTest-1_a"),
        ({"id": 42, "question": "What?", "possible_answers": '["pol", 7]'}, "42"),
    ],
)
def test_a_published_set_is_recognised_as_json_lines_too(
    tmp_path: Path, record: dict[str, Any], expected: str
) -> None:
    (tmp_path / "q.jsonl").write_text(json.dumps(record) + "\n")
    (question,) = load_questions(str(tmp_path / "q.jsonl"))
    assert question.question_id == expected and question.answers
    assert load_questions(write(tmp_path / "q.json", record)) == [question]
