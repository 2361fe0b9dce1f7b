"""Questions to evaluate on: JSON lines → records, or an error that names the line.

A line is `{"question_id", "question", "answers": [accepted, …], "gold_doc_ids": [doc_id, …], "type"}`; the last two may be
left out. Read like a corpus: any fsspec URI, compressed or not. Other fields are ignored.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import fsspec

from prag_core.config import CorpusFormat
from prag_core.corpus_formats import Row, read_rows
from prag_core.errors import ConfigError, CorpusError
from prag_core.records import Question


def load_questions(uri: str, limit: int | None = None, section: str = "evaluate") -> list[Question]:
    """The file's questions in its order, or the first `limit`. `section` is whose settings they are. Raises CorpusError (place
    and what to mend)."""
    if limit is not None and limit < 1:
        raise ConfigError(f"{section}.limit={limit}: expected at least 1, or null for every question")
    places: dict[str, str] = {}
    questions: list[Question] = []
    for where, fields in _rows(uri, section):
        question = to_question(fields, where)
        if (first := places.setdefault(question.question_id, where)) != where:
            raise CorpusError(f"{where}: question_id {question.question_id!r} is that of {first} too; give each question its own")
        questions.append(question)
        if len(questions) == limit:
            break
    if not questions:
        raise CorpusError(f"{section}.questions={uri}: holds no questions; expected lines of question_id, question, answers")
    return questions


def load_unseen(uri: str, limit: int | None, section: str, test: str) -> list[Question]:
    """Questions to learn from or to choose settings on. Raises ConfigError where one of them is among those of `test`
    (evaluate.questions), by id or by wording: what is chosen on the questions that measure it is not measured."""
    questions = load_questions(uri, limit, section)
    tested = load_questions(test)
    ids, texts = {question.question_id for question in tested}, {_wording(question) for question in tested}
    for question in questions:
        if question.question_id in ids or _wording(question) in texts:
            raise ConfigError(
                f"{section}.questions={uri}: question {question.question_id!r} is one of evaluate.questions={test} too; "
                "give questions that nothing is measured on"
            )
    return questions


def _wording(question: Question) -> str:
    return " ".join(question.question.casefold().split())


def to_question(fields: Mapping[str, Any], where: str) -> Question:
    """A row as a Question. `where` names it in the CorpusErrors raised for what is missing or unusable."""
    question_id = _text(fields, "question_id", where)
    where = f"{where}: question {question_id!r}"
    answers = _texts(fields, "answers", where)
    if not answers:
        raise CorpusError(f"{where}: answers is empty; a question needs at least one accepted answer")
    return Question(
        question_id=question_id,
        question=_text(fields, "question", where),
        answers=answers,
        gold_doc_ids=() if fields.get("gold_doc_ids") is None else _texts(fields, "gold_doc_ids", where),
        type=_text(fields, "type", where) if fields.get("type") else "",
    )


def _rows(uri: str, section: str) -> Iterator[Row]:
    try:
        fs, path = fsspec.core.url_to_fs(uri)
        if not fs.isfile(path):
            raise CorpusError(f"{section}.questions={uri}: no such file; expected one file of JSON lines")
    except (OSError, ImportError, ValueError) as error:
        if isinstance(error, CorpusError):
            raise
        raise CorpusError(f"{section}.questions={uri}: cannot be read: {error}") from None
    yield from read_rows(fs, path, CorpusFormat.jsonl)


def _text(fields: Mapping[str, Any], name: str, where: str) -> str:
    value = fields.get(name)
    if not _usable(value) or not str(value).strip():
        raise CorpusError(f"{where}: {name} is {_excerpt(value)}; expected text that is not empty")
    return str(value)


def _texts(fields: Mapping[str, Any], name: str, where: str) -> tuple[str, ...]:
    value = fields.get(name)
    if not isinstance(value, list) or not all(_usable(item) for item in value):
        raise CorpusError(f"{where}: {name} is {_excerpt(value)}; expected a list of texts")
    return tuple(value)


def _usable(value: Any) -> bool:
    """Text that can be encoded: no half characters (lone surrogates)."""
    return isinstance(value, str) and not any("\ud800" <= char <= "\udfff" for char in value)


def _excerpt(value: Any) -> str:
    return "missing" if value is None else f"{json.dumps(value)[:80]}"
