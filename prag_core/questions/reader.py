"""Questions to evaluate on: our own JSON lines or a published question set's file → records, or an error with its place.

A line of ours is `{"question_id", "question", "answers": [accepted, …], "gold_doc_ids": [doc_id, …], "type"}`; the last two may
be left out, other fields are ignored. `datasets` has the published formats. Read like a corpus: any fsspec URI, compressed or
not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import IO, Any

import fsspec

from prag_core.config.schema import EvaluateConfig, QuestionFormat
from prag_core.corpus.formats import Row, read_file, read_jsonl, read_tsv
from prag_core.errors import ConfigError, CorpusError
from prag_core.questions.formats import READERS, Aliases, format_of_record, read_json_list
from prag_core.records import Question

ALIASES = "id_aliases.json"  # beside a file of 2WikiMultihopQA
FORMATS = ", ".join(format.name for format in QuestionFormat if format is not QuestionFormat.auto)


def load_questions(
    uri: str,
    limit: int | None = None,
    setting: str = "evaluate.questions",
    *,
    type: str | None = None,
    format: QuestionFormat = QuestionFormat.auto,
) -> list[Question]:
    """The file's questions in its order: those of `type`, the first `limit` of them; `setting` is what named it. Raises
    CorpusError (place and what to mend)."""
    if limit is not None and limit < 1:
        raise ConfigError(
            f"{setting.partition('.')[0]}.limit={limit}: expected at least 1, or null for every question"
        )
    places: dict[str, str] = {}
    types: dict[str, int] = {}
    questions: list[Question] = []
    for where, question in _read(uri, format, setting):
        types[question.type] = types.get(question.type, 0) + 1
        if type is not None and question.type != type:
            continue
        if (first := places.setdefault(question.question_id, where)) != where:
            raise CorpusError(
                f"{where}: question_id {question.question_id!r} is that of {first} too; give each question its own"
            )
        questions.append(question)
        if len(questions) == limit:
            break
    if not types:
        raise CorpusError(
            f"{setting}={uri}: holds no questions; expected lines of question_id, question, answers"
        )
    if not questions:
        raise CorpusError(
            f"evaluate.type={type}: {uri} has no such question; its types are {', '.join(sorted(types))}"
        )
    return questions


def load_unseen(uri: str, limit: int | None, setting: str, evaluate: EvaluateConfig) -> list[Question]:
    """Questions to learn from or to choose settings on; `setting` is what named them. Raises ConfigError where one of them is
    among evaluate.questions, by id or by wording: what is chosen on the questions that measure it is not measured."""
    questions = load_questions(uri, limit, setting)
    tested = load_questions(evaluate.questions, format=evaluate.format)
    ids, texts = {question.question_id for question in tested}, {_wording(question) for question in tested}
    for question in questions:
        if question.question_id in ids or _wording(question) in texts:
            raise ConfigError(
                f"{setting}={uri}: question {question.question_id!r} is one of evaluate.questions={evaluate.questions} too; "
                "give questions that nothing is measured on"
            )
    return questions


def _wording(question: Question) -> str:
    return " ".join(question.question.casefold().split())


def to_question(fields: Mapping[str, Any], where: str) -> Question:
    """A row of ours as a Question. `where` names it in the CorpusErrors raised for what is missing or unusable."""
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


def _read(uri: str, format: QuestionFormat, setting: str) -> Iterator[tuple[str, Question]]:
    try:
        fs, path = fsspec.core.url_to_fs(uri)
        if not fs.isfile(path):
            raise CorpusError(f"{setting}={uri}: no such file; expected one file of questions")
    except (OSError, ImportError, ValueError) as error:
        if isinstance(error, CorpusError):
            raise
        raise CorpusError(f"{setting}={uri}: cannot be read: {error}") from None
    name = _begins_as(fs, path) if format is QuestionFormat.auto else format.name
    if name == "jsonl":
        yield from ((where, to_question(fields, where)) for where, fields in read_file(fs, path, read_jsonl))
        return
    rows = read_file(fs, path, _read_popqa if name == "popqa" else read_json_list)
    if name is None:
        name, rows = _detect(rows, uri)
    aliases = _read_aliases(fs, path) if name == "2wiki" else {}
    for where, fields in rows:
        yield where, READERS[name](fields, where, aliases)


def _begins_as(fs: fsspec.AbstractFileSystem, path: str) -> str | None:
    """The format that a file's first line says; None for a JSON list, whose first record has to say."""
    _, start = next(read_file(fs, path, _read_start))
    if "possible_answers" in start["first line"].split("\t"):
        return "popqa"
    return None if start["first line"].startswith("[") else "jsonl"


def _detect(rows: Iterator[Row], uri: str) -> tuple[str, Iterator[Row]]:
    """The format that the first record shows, and all of the rows."""
    first = next(rows, None)
    if first is None:
        raise CorpusError(f"{uri}: an empty list; it holds no questions")
    where, fields = first
    if (name := format_of_record(fields)) is None:
        raise CorpusError(f"{where}: of no known question set; set evaluate.format to one of {FORMATS}")
    return name, chain([first], rows)


def _read_start(stream: IO[bytes], name: str) -> Iterator[Row]:
    start = stream.read(4096).decode("utf-8-sig", errors="replace").lstrip()
    yield name, {"first line": start.partition("\n")[0].rstrip("\r")}


def _read_popqa(stream: IO[bytes], name: str) -> Iterator[Row]:
    def check(header: list[str], where: str) -> list[str]:
        if missing := [column for column in ("id", "question", "possible_answers") if column not in header]:
            raise CorpusError(
                f"{where}: no column {' or '.join(missing)}; PopQA's header has id, question, possible_answers, …"
            )
        return header

    return read_tsv(stream, name, check)


def _read_aliases(fs: fsspec.AbstractFileSystem, path: str) -> Aliases:
    """The other names in the file beside `path`, if it is there."""
    beside = f"{path.rpartition('/')[0]}/{ALIASES}"
    rows = read_file(fs, beside, read_jsonl) if fs.isfile(beside) else ()
    return {_text(fields, "Q_id", where): _texts(fields, "aliases", where) for where, fields in rows}


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
