import gzip
import json
from pathlib import Path
from typing import Any

import fsspec
import pytest

from prag_core.config.schema import EvaluateConfig
from prag_core.errors import ConfigError, CorpusError
from prag_core.questions.reader import load_questions, load_unseen
from prag_core.records import Question

ROW: dict[str, Any] = {
    "question_id": "q1",
    "question": "Who?",
    "answers": ["Ada", "Ada L."],
    "gold_doc_ids": ["d"],
    "type": "single",
}


def write(path: Path, *rows: Any) -> str:
    path.write_text(
        "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows), encoding="utf-8"
    )
    return str(path)


def test_questions_come_in_order_with_optional_fields_left_out(tmp_path: Path) -> None:
    bare = {"question_id": "q2", "question": "What is ë?", "answers": ["x"], "more": 1}
    uri = write(tmp_path / "questions.jsonl", ROW, "", bare)
    assert load_questions(uri) == [
        Question("q1", "Who?", ("Ada", "Ada L."), ("d",), "single"),
        Question("q2", "What is ë?", ("x",)),
    ]
    assert [question.question_id for question in load_questions(uri, limit=1)] == ["q1"]


def test_they_are_read_from_any_file_system_and_compressed() -> None:
    line = json.dumps(ROW).encode() + b"\n"
    fsspec.filesystem("memory").pipe_file("/questions-test.jsonl.gz", gzip.compress(line))
    assert load_questions("memory://questions-test.jsonl.gz")[0].question_id == "q1"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{not json", "line 2: not JSON"),
        ([1], "line 2: expected a JSON object"),
        ({**ROW, "question_id": None}, "line 2: question_id is missing"),
        ({**ROW, "question_id": " "}, "line 2: question_id is .*not empty"),
        ({"question_id": "q2", "answers": ["x"]}, "line 2: question 'q2': question is missing"),
        ({"question_id": "q2", "question": "?"}, "line 2: question 'q2': answers is missing"),
        (
            {**ROW, "question_id": "q2", "answers": "Ada"},
            "line 2: question 'q2': answers is \"Ada\"; expected a list",
        ),
        ({**ROW, "question_id": "q2", "answers": []}, "line 2: question 'q2': answers is empty"),
        ({**ROW, "question_id": "q2", "gold_doc_ids": [7.5]}, "line 2: question 'q2': gold_doc_ids"),
        ({**ROW, "question_id": "q2", "question": "\ud800"}, "line 2: question 'q2': question is"),
        (ROW, "line 2: question_id 'q1' is that of .*line 1 too"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_line(tmp_path: Path, row: Any, message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        load_questions(write(tmp_path / "questions.jsonl", ROW, row))


def test_a_file_that_is_missing_or_empty_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no such file"):
        load_questions(str(tmp_path / "absent.jsonl"))
    with pytest.raises(CorpusError, match="no questions"):
        load_questions(write(tmp_path / "empty.jsonl"))
    (tmp_path / "latin.jsonl").write_bytes('{"question_id": "é"}\n'.encode("latin-1"))
    with pytest.raises(CorpusError, match="not UTF-8"):
        load_questions(str(tmp_path / "latin.jsonl"))


def test_a_limit_below_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"evaluate\.limit=0"):
        load_questions(write(tmp_path / "questions.jsonl", ROW), limit=0)


@pytest.mark.parametrize(
    "shared", [{"question_id": "q1", "question": "What?"}, {"question_id": "q9", "question": " who? "}]
)
def test_questions_to_choose_on_may_not_be_among_those_to_measure_on(
    tmp_path: Path, shared: dict[str, str]
) -> None:
    test = write(tmp_path / "test.jsonl", ROW)
    dev = write(tmp_path / "dev.jsonl", {**ROW, "question_id": "q2", "question": "When?"}, {**ROW, **shared})
    with pytest.raises(
        ConfigError, match=rf"calibrate\.questions=.*question '{shared['question_id']}' is one of"
    ):
        load_unseen(dev, None, "calibrate.questions", EvaluateConfig(questions=test))
    (first,) = load_unseen(dev, 1, "calibrate.questions", EvaluateConfig(questions=test))
    assert first.question_id == "q2"


def test_whole_numbers_are_read_as_text_like_a_corpus_does(tmp_path: Path) -> None:
    row = {"question_id": 1, "question": "When?", "gold_doc_ids": [1, "d"], "answers": [1999]}
    (question,) = load_questions(write(tmp_path / "q.jsonl", row))
    assert question == Question("1", "When?", ("1999",), ("1", "d"))


def test_flashrags_names_are_read(tmp_path: Path) -> None:
    row = {"id": "test_0", "question": "Who?", "golden_answers": ["Ada"], "metadata": {"type": "x"}}
    assert load_questions(write(tmp_path / "q.jsonl", row)) == [Question("test_0", "Who?", ("Ada",))]


@pytest.mark.parametrize("as_list", [False, True])
def test_a_file_of_questions_is_a_json_list_or_json_lines(tmp_path: Path, as_list: bool) -> None:
    rows = [ROW, {**ROW, "question_id": "q2"}]
    text = json.dumps(rows, indent=1) if as_list else "\n".join(map(json.dumps, rows))
    (tmp_path / "questions").write_text(text)
    assert [question.question_id for question in load_questions(str(tmp_path / "questions"))] == ["q1", "q2"]


@pytest.mark.parametrize("value", [True, 7.5, None, {"a": 1}])
def test_what_is_neither_text_nor_a_whole_number_is_no_answer(tmp_path: Path, value: object) -> None:
    with pytest.raises(CorpusError, match=r"line 1: question 'q1': answers is .*expected a list of texts"):
        load_questions(write(tmp_path / "q.jsonl", {**ROW, "answers": ["Ada", value]}))


def test_records_of_no_known_shape_are_refused_with_the_expected_fields(tmp_path: Path) -> None:
    row = {"query-id": "1", "query": "Who?"}
    with pytest.raises(
        CorpusError,
        match=r"line 1: of no known question set.*question_id, question and answers.*query-id, query",
    ):
        load_questions(write(tmp_path / "q.jsonl", row))
