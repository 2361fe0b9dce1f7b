"""The record formats of question sets: this project's own and the published ones, with the paragraphs that come with them.

    jsonl      {question_id, question, answers: [accepted, …], gold_doc_ids: [doc_id, …], type}; the last two are optional, other
               fields are ignored. FlashRAG's names are read too: `id` (or `_id`) and `golden_answers`
    2wiki      dev.json of 2WikiMultihopQA: a JSON list of {_id, question, answer, answer_id, type, context, supporting_facts, …};
               more names of the answers in id_aliases.json in its folder (a line each: {Q_id, aliases})
    hotpotqa   hotpot_dev_distractor_v1.json: a JSON list of {_id, question, answer, type, context, supporting_facts, …}
    popqa      popQA.tsv, with a header: id, question, possible_answers (a JSON list), …
    cwq        ComplexWebQuestions_dev.json: a JSON list of {ID, question, answers: [{answer, aliases}], compositionality_type}

`context` is a question's paragraphs: [[title, [sentence, …]], …]. A paragraph's `doc_id` is its title and a digest of its
text, so that the gold documents of a question are those of a corpus read from the same file.

A file is a JSON list of records or has one a line, whichever set it is (PopQA's: a TSV too). Whole numbers count as text.
Everything unusable is a CorpusError that names the file, the record and the field.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prag_core.errors import CorpusError
from prag_core.files.rows import excerpt, pick
from prag_core.questions.fields import as_text, text_of, texts_of
from prag_core.records import Question

Aliases = Mapping[str, tuple[str, ...]]  # Wikidata id → other names
ID_FIELDS = ("question_id", "id", "_id")  # of the project's own format
ANSWER_FIELDS = ("answers", "golden_answers")
JOINTS = {"2wiki": " ", "hotpotqa": ""}  # between a paragraph's sentences: HotpotQA's carry their own spaces


def plain_question(fields: Mapping[str, Any], place: str) -> Question:
    """The question of a record in the project's own format, or in FlashRAG's."""
    question_id = text_of(fields, pick(fields, ID_FIELDS) or ID_FIELDS[0], place)
    place = f"{place}: question {question_id!r}"
    answers = texts_of(fields, pick(fields, ANSWER_FIELDS) or ANSWER_FIELDS[0], place)
    if not answers:
        raise CorpusError(f"{place}: answers is empty; a question needs at least one accepted answer")
    return Question(
        question_id=question_id,
        question=text_of(fields, "question", place),
        answers=answers,
        gold_doc_ids=() if fields.get("gold_doc_ids") is None else texts_of(fields, "gold_doc_ids", place),
        type=text_of(fields, "type", place) if fields.get("type") else "",
    )


def paragraphs(fields: Mapping[str, Any], place: str, joint: str) -> list[dict[str, str]]:
    """The paragraphs of a record as rows of a corpus: doc_id, title, text. Blank ones are left out."""
    context = fields.get("context")
    if not isinstance(context, list):
        raise CorpusError(
            f"{place}: context is {excerpt(context)}; expected a list of [title, [sentence, …]]"
        )
    rows = [
        _paragraph(item, f"{place}: context item {number}", joint) for number, item in enumerate(context, 1)
    ]
    return [row for row in rows if row["text"].strip()]


def _paragraph(item: Any, place: str, joint: str) -> dict[str, str]:
    match item:
        case [str(title), [*sentences]] if all(isinstance(sentence, str) for sentence in sentences):
            text = joint.join(sentences).strip()
            return {"doc_id": paragraph_id(title, text), "title": title, "text": text}
    raise CorpusError(f"{place} is {excerpt(item)}; expected [title, [sentence, …]]")


def paragraph_id(title: str, text: str) -> str:
    """The doc_id of a paragraph, such as `Title (1f0c9a3e)`: the same whichever question it comes with."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{' '.join(title.split())} ({digest[:8]})"


def multihop_question(fields: Mapping[str, Any], place: str, joint: str, aliases: Aliases) -> Question:
    """The question of a record of 2WikiMultihopQA or HotpotQA.

    Its gold documents are the paragraphs that its supporting facts name; a fact whose paragraph does not come with the question
    has none.
    """
    question_id = text_of(fields, "_id", place)
    place = f"{place}: question {question_id!r}"
    documents = {row["title"]: row["doc_id"] for row in paragraphs(fields, place, joint)}
    facts = fields.get("supporting_facts", [])
    if not isinstance(facts, list) or not all(
        isinstance(fact, list) and fact and isinstance(fact[0], str) for fact in facts
    ):
        raise CorpusError(
            f"{place}: supporting_facts is {excerpt(facts)}; expected a list of [title, sentence number]"
        )
    answer_id = fields.get("answer_id")
    names = aliases.get(answer_id, ()) if isinstance(answer_id, str) else ()
    gold = dict.fromkeys(documents[fact[0]] for fact in facts if fact[0] in documents)
    return Question(
        question_id=question_id,
        question=text_of(fields, "question", place),
        answers=_distinct([text_of(fields, "answer", place), *names]),
        gold_doc_ids=tuple(gold),
        type=text_of(fields, "type", place),
    )


def popqa_question(fields: Mapping[str, Any], place: str) -> Question:
    """The question of a row of PopQA, without a type: a report could not tell so many properties apart."""
    question_id = text_of(fields, "id", place)
    place = f"{place}: question {question_id!r}"
    value = fields.get("possible_answers")
    try:
        answers = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        answers = None
    texts = [as_text(answer) for answer in answers] if isinstance(answers, list) else []
    if not texts or None in texts:
        raise CorpusError(f"{place}: possible_answers is {excerpt(value)}; expected a JSON list of texts")
    return Question(question_id, text_of(fields, "question", place), _distinct(texts))


def cwq_question(fields: Mapping[str, Any], place: str) -> Question:
    """The question of a record of ComplexWebQuestions. Answers without a name in Freebase (null) are left out."""
    question_id = text_of(fields, "ID", place)
    place = f"{place}: question {question_id!r}"
    answers = fields.get("answers")
    if not isinstance(answers, list) or not all(isinstance(answer, dict) for answer in answers):
        raise CorpusError(f"{place}: answers is {excerpt(answers)}; expected a list of {{answer, aliases}}")
    names = [name for answer in answers for name in (answer.get("answer"), *(answer.get("aliases") or ()))]
    texts = [as_text(name) for name in names if name is not None]
    if not texts or None in texts:
        raise CorpusError(
            f"{place}: answers is {excerpt(answers)}; it names no answer, or one that is no text"
        )
    kind = fields.get("compositionality_type") or ""
    return Question(question_id, text_of(fields, "question", place), _distinct(texts), type=kind)


def format_of_record(fields: Mapping[str, Any]) -> str | None:
    """The format that a record is in, by a field that only this format has; None if none fits."""
    signs = {
        "cwq": "compositionality_type",
        "2wiki": "evidences",
        "hotpotqa": "supporting_facts",
        "popqa": "possible_answers",
    }
    published = next((name for name, sign in signs.items() if sign in fields), None)
    return published or ("jsonl" if pick(fields, ANSWER_FIELDS) else None)


PUBLISHED: dict[str, Callable[[Mapping[str, Any], str, Aliases], Question]] = {
    "2wiki": lambda fields, place, aliases: multihop_question(fields, place, JOINTS["2wiki"], aliases),
    "hotpotqa": lambda fields, place, aliases: multihop_question(fields, place, JOINTS["hotpotqa"], {}),
    "popqa": lambda fields, place, aliases: popqa_question(fields, place),
    "cwq": lambda fields, place, aliases: cwq_question(fields, place),
}


READERS = PUBLISHED | {"jsonl": lambda fields, place, aliases: plain_question(fields, place)}


def _distinct(texts: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for text in texts if text is not None))
