"""Questions to evaluate on, in the project's own format or a published question set's (`formats`).

A file is a JSON list or JSON lines (PopQA's: a TSV), on any fsspec file system, compressed or not. A question that cannot be used
is an error with its place: leaving it out would change what is measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import IO

import fsspec

from prag_core.config.schema import EvaluateConfig, QuestionFormat
from prag_core.errors import ConfigError, CorpusError
from prag_core.files.opening import Reader, read_file
from prag_core.files.rows import Rejected, Row, Rows, read_json_list, read_jsonl, read_tsv, refuse_rejected
from prag_core.questions.fields import text_of, texts_of
from prag_core.questions.formats import READERS, Aliases, format_of_record
from prag_core.records import Question

ALIASES = "id_aliases.json"  # in the folder of a file of 2WikiMultihopQA
FORMATS = ", ".join(format.name for format in QuestionFormat if format is not QuestionFormat.auto)


def load_questions(
    uri: str,
    limit: int | None = None,
    setting: str = "evaluate.questions",
    *,
    type: str | None = None,
    format: QuestionFormat = QuestionFormat.auto,
) -> list[Question]:
    """Read a file's questions in its order: those of `type`, the first `limit` of them.

    Raises CorpusError with the place of what cannot be used, or naming `setting`, from which the file's name came.
    """
    if limit is not None and limit < 1:
        raise ConfigError(
            f"{setting.partition('.')[0]}.limit={limit}: expected at least 1, or null for every question"
        )
    places: dict[str, str] = {}
    types: dict[str, int] = {}
    questions: list[Question] = []
    for place, question in _read(uri, format, setting):
        types[question.type] = types.get(question.type, 0) + 1
        if type is not None and question.type != type:
            continue
        if (first := places.setdefault(question.question_id, place)) != place:
            raise CorpusError(
                f"{place}: question_id {question.question_id!r} is that of {first} too; give each question its own"
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
    """Read questions to learn from or to choose settings on; `setting` is where the file's name came from.

    Raises ConfigError if one of them is among evaluate.questions, by id or by wording: choosing settings on the questions that
    results are reported on would flatter the results.
    """
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


def _read(uri: str, format: QuestionFormat, setting: str) -> Iterator[tuple[str, Question]]:
    """The questions of a file, each with its place."""
    try:
        fs, path = fsspec.core.url_to_fs(uri)
        if not fs.isfile(path):
            raise CorpusError(f"{setting}={uri}: no such file; expected one file of questions")
    except CorpusError:
        raise
    except (OSError, ImportError, ValueError) as error:
        raise CorpusError(f"{setting}={uri}: cannot be read: {error}") from None
    reader = _reader_of(next(read_file(fs, path, _read_first_line)))
    rows = refuse_rejected(read_file(fs, path, reader))
    if (first := next(rows, None)) is None:
        return
    name = _format_of(first) if format is QuestionFormat.auto else format.name
    aliases = _read_aliases(fs, path) if name == "2wiki" else {}
    for row in chain([first], rows):
        yield row.place, READERS[name](row.fields, row.place, aliases)


def _reader_of(first_line: str) -> Reader[Row | Rejected]:
    """Choose the reader of a file by its first line: of a JSON list, of PopQA's TSV, or of one record a line."""
    if first_line.startswith("["):
        return read_json_list
    return _read_popqa if "possible_answers" in first_line.split("\t") else read_jsonl


def _format_of(first: Row) -> str:
    if (name := format_of_record(first.fields)) is None:
        raise CorpusError(
            f"{first.place}: of no known question set; set evaluate.format to one of {FORMATS}, or give each record the fields "
            f"question_id, question and answers (perhaps gold_doc_ids and type); this one has {', '.join(first.fields) or 'none'}"
        )
    return name


def _read_first_line(stream: IO[bytes], name: str) -> Iterator[str]:
    start = stream.read(4096).decode("utf-8-sig", errors="replace").lstrip()
    yield start.partition("\n")[0].rstrip("\r")


def _read_popqa(stream: IO[bytes], name: str) -> Rows:
    def check(header: list[str], place: str) -> list[str]:
        if missing := [column for column in ("id", "question", "possible_answers") if column not in header]:
            raise CorpusError(
                f"{place}: no column {' or '.join(missing)}; PopQA's header has id, question, possible_answers, …"
            )
        return header

    return read_tsv(stream, name, check)


def _read_aliases(fs: fsspec.AbstractFileSystem, path: str) -> Aliases:
    """Read further names of answers from the file next to `path`; none if there is no such file."""
    neighbour = f"{path.rpartition('/')[0]}/{ALIASES}"
    rows = refuse_rejected(read_file(fs, neighbour, read_jsonl)) if fs.isfile(neighbour) else ()
    return {
        text_of(row.fields, "Q_id", row.place): texts_of(row.fields, "aliases", row.place) for row in rows
    }
