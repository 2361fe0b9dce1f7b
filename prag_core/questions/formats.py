"""Question sets in the files that they were published as: what is in a record, and which paragraphs come with it.

    2wiki      dev.json of 2WikiMultihopQA: a JSON list of {_id, question, answer, answer_id, type, context, supporting_facts, …};
               more names of the answers in id_aliases.json beside it (a line each: {Q_id, aliases})
    hotpotqa   hotpot_dev_distractor_v1.json: a JSON list of {_id, question, answer, type, context, supporting_facts, …}
    popqa      popQA.tsv, with a header: id, question, possible_answers (a JSON list), …
    cwq        ComplexWebQuestions_dev.json: a JSON list of {ID, question, answers: [{answer, aliases}], compositionality_type}

`context` is a question's paragraphs: [[title, [sentence, …]], …]. A paragraph's `doc_id` is its title and a digest of its
text, so that a question's labelled documents and a corpus made of the same file agree without a table between them.

Everything unusable is a CorpusError that names the file, the record and the field.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any

from prag_core.errors import CorpusError
from prag_core.records import Question

Record = tuple[str, dict[str, Any]]  # "dev.json record 3", fields
Aliases = Mapping[str, tuple[str, ...]]  # Wikidata id → other names
JOINTS = {"2wiki": " ", "hotpotqa": ""}  # between a paragraph's sentences: HotpotQA's carry their own spaces


def read_json_list(stream: IO[bytes], name: str) -> Iterator[Record]:
    """The objects of a JSON list, each with its place (counted from 1). The file is read whole."""
    try:
        records = json.loads(stream.read().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{name}: not UTF-8 text ({error.reason} at byte {error.start}); convert the file to UTF-8"
        ) from None
    except (ValueError, RecursionError) as error:
        raise CorpusError(f"{name}: not JSON: {error}; is the file whole?") from None
    if not isinstance(records, list):
        raise CorpusError(f"{name}: expected a JSON list of records, found {_excerpt(records)}")
    for number, fields in enumerate(records, 1):
        if not isinstance(fields, dict):
            raise CorpusError(f"{name} record {number}: expected a JSON object, found {_excerpt(fields)}")
        yield f"{name} record {number}", fields


def paragraphs(fields: Mapping[str, Any], where: str, joint: str) -> list[dict[str, str]]:
    """The paragraphs of a record as rows of a corpus: doc_id, title, text. Those without a word are left out."""
    context = fields.get("context")
    if not isinstance(context, list):
        raise CorpusError(
            f"{where}: context is {_excerpt(context)}; expected a list of [title, [sentence, …]]"
        )
    rows = [
        _paragraph(item, f"{where}: context item {number}", joint) for number, item in enumerate(context, 1)
    ]
    return [row for row in rows if row["text"].strip()]


def _paragraph(item: Any, where: str, joint: str) -> dict[str, str]:
    match item:
        case [str(title), [*sentences]] if all(isinstance(sentence, str) for sentence in sentences):
            text = joint.join(sentences).strip()
            return {"doc_id": paragraph_id(title, text), "title": title, "text": text}
    raise CorpusError(f"{where} is {_excerpt(item)}; expected [title, [sentence, …]]")


def paragraph_id(title: str, text: str) -> str:
    """`Title (1f0c9a3e)`: one paragraph, one id, whichever question it comes with."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{' '.join(title.split())} ({digest[:8]})"


def multihop_question(fields: Mapping[str, Any], where: str, joint: str, aliases: Aliases) -> Question:
    """A record of 2WikiMultihopQA or HotpotQA. Labelled are the paragraphs that its supporting facts name; a fact whose
    paragraph does not come with the question has no document."""
    question_id = _text(fields, "_id", where)
    where = f"{where}: question {question_id!r}"
    documents = {row["title"]: row["doc_id"] for row in paragraphs(fields, where, joint)}
    facts = fields.get("supporting_facts", [])
    if not isinstance(facts, list) or not all(
        isinstance(fact, list) and fact and isinstance(fact[0], str) for fact in facts
    ):
        raise CorpusError(
            f"{where}: supporting_facts is {_excerpt(facts)}; expected a list of [title, sentence number]"
        )
    answer_id = fields.get("answer_id")
    names = aliases.get(answer_id, ()) if isinstance(answer_id, str) else ()
    gold = dict.fromkeys(documents[fact[0]] for fact in facts if fact[0] in documents)
    return Question(
        question_id,
        _text(fields, "question", where),
        _distinct(_text(fields, "answer", where), *names),
        tuple(gold),
        _text(fields, "type", where),
    )


def popqa_question(fields: Mapping[str, Any], where: str) -> Question:
    """A row of PopQA. It has no type: the properties asked for are too many to be told apart in a report."""
    question_id = _text(fields, "id", where)
    where = f"{where}: question {question_id!r}"
    given = _text(fields, "possible_answers", where)
    try:
        answers = json.loads(given)
    except ValueError:
        answers = None
    if not isinstance(answers, list) or not answers or not all(isinstance(answer, str) for answer in answers):
        raise CorpusError(f"{where}: possible_answers is {_excerpt(given)}; expected a JSON list of texts")
    return Question(question_id, _text(fields, "question", where), _distinct(*answers))


def cwq_question(fields: Mapping[str, Any], where: str) -> Question:
    """A record of ComplexWebQuestions. Answers without a name in Freebase (null) are left out."""
    question_id = _text(fields, "ID", where)
    where = f"{where}: question {question_id!r}"
    given = fields.get("answers")
    if not isinstance(given, list) or not all(isinstance(answer, dict) for answer in given):
        raise CorpusError(f"{where}: answers is {_excerpt(given)}; expected a list of {{answer, aliases}}")
    names = [
        name
        for answer in given
        for name in (answer.get("answer"), *(answer.get("aliases") or ()))
        if name is not None
    ]
    if not names or not all(isinstance(name, str) for name in names):
        raise CorpusError(
            f"{where}: answers is {_excerpt(given)}; it names no answer, or one that is no text"
        )
    kind = fields.get("compositionality_type") or ""
    return Question(question_id, _text(fields, "question", where), _distinct(*names), type=kind)


def format_of_record(fields: Mapping[str, Any]) -> str | None:
    """Which of the formats a record of a JSON list is in, by a field that only this one has; None if none fits."""
    signs = {"cwq": "compositionality_type", "2wiki": "evidences", "hotpotqa": "supporting_facts"}
    return next((name for name, sign in signs.items() if sign in fields), None)


READERS: dict[str, Callable[[Mapping[str, Any], str, Aliases], Question]] = {
    "2wiki": lambda fields, where, aliases: multihop_question(fields, where, JOINTS["2wiki"], aliases),
    "hotpotqa": lambda fields, where, aliases: multihop_question(fields, where, JOINTS["hotpotqa"], {}),
    "popqa": lambda fields, where, aliases: popqa_question(fields, where),
    "cwq": lambda fields, where, aliases: cwq_question(fields, where),
}


def _distinct(*answers: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(answers))


def _text(fields: Mapping[str, Any], name: str, where: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value.strip() or any("\ud800" <= char <= "\udfff" for char in value):
        raise CorpusError(f"{where}: {name} is {_excerpt(value)}; expected text that is not empty")
    return value


def _excerpt(value: Any) -> str:
    return "missing" if value is None else json.dumps(value, default=str)[:80]
