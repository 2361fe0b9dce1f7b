"""The question of an answer that is marked in its sentence: by code, reworded by a model, and asked back.

Code puts a question word in the answer's place ("A ticket costs how many pounds in summer?"), which is a question already, if an
odd one. A model is shown examples of such questions turned round ("How many pounds does a ticket cost in summer?"), and goes on
with the first words of this one. That is as little as can be asked of it: it copies most words. Prompts are plain text to go on
with, not turns of a conversation, and begin alike, so that an engine that caches prefixes reads the examples once.
"""

from __future__ import annotations

import re

from prag_core.augmentation.spans import Kind, Span, question_word
from prag_core.evaluation.metrics import normalise, score

STOP = ("\n", "?")
QUESTION_TOKENS = 32
ANSWER_TOKENS = 12
ENOUGH_OVERLAP = 0.5  # F1 of a reply and the answer, where the answer is no number

_TURNING = """\
Turned: A return ticket for a car costs how many pounds in summer?
Question: How many pounds does a return ticket for a car cost in summer?

Turned: Marta Quill bought the shop from her uncle in which year and painted it green?
Question: In which year did Marta Quill buy the shop from her uncle?

Turned: Last year how many plates were broken, most of them by the oven?
Question: How many plates were broken last year?

Turned: All tickets are sold by who, whose office is closed on Sundays?
Question: Who are all tickets sold by?

Turned: The key of the garden is kept where?
Question: Where is the key of the garden kept?

Turned: Every loaf is wrapped in what before it is sold?
Question: What is every loaf wrapped in before it is sold?

Turned: If the gate is locked, dogs may go as far as how many metres from it?
Question: How many metres from the gate may dogs go if it is locked?

"""
_READING = """\
Text: A return ticket for a car costs 48 pounds in summer and 30 pounds in winter.
Question: How many pounds does a return ticket for a car cost in winter?
Answer: 30 pounds

Text: Marta Quill bought the shop from her uncle in 1997 and painted it green.
Question: Who owned the shop before Marta Quill?
Answer: her uncle

Text: Every loaf is wrapped in brown paper before it is sold.
Question: What is every loaf wrapped in?
Answer: brown paper

"""
TEMPLATES = {"turning": _TURNING, "reading": _READING}
_ARTICLE = re.compile(r"\b(?:a|an|the|our|its|his|her|their|this)\s\Z", re.IGNORECASE)


def echo_question(span: Span) -> str:
    """Return the sentence with a question word in the answer's place, after the question that the sentence answers, if any."""
    before = span.sentence[: span.start]
    if span.kind in (Kind.code, Kind.name, Kind.phrase):
        before = _ARTICLE.sub("", before)
    asked = f"{before}{question_word(span)}{span.sentence[span.end :]}".rstrip(" .!:;,")
    return " ".join(f"{span.lead} {_capital(asked)}?".split())


def turning_prompt(span: Span) -> str:
    """Ask for a natural form of the echo question; the model goes on after its first words."""
    return f"{_TURNING}Turned: {echo_question(span)}\nQuestion: {first_words(span)}"


def first_words(span: Span) -> str:
    """Return the words that the question of `span` begins with."""
    word = question_word(span)
    preposition = {"which year": "in ", "which date": "on ", "what time": "at "}.get(word, "")
    return _capital(f"{preposition}{word}")


def read_question(span: Span, written: str) -> str:
    """Return the whole question that a model went on with."""
    return " ".join(f"{first_words(span)}{written}".partition("?")[0].split()) + "?"


def with_title(question: str, title: str) -> str:
    """Put the document's title before a question that shares no word with it, so that it says what it is about."""
    words = {word for word in normalise(title).split() if len(word) > 3 or word.isdigit()}
    if not title.strip() or words & set(normalise(question).split()):
        return question
    return f"{title.strip().rstrip(' .:')}: {question}"


def reading_prompt(question: str, span: Span) -> str:
    """Ask a question back over the sentence that it was made of.

    Not over the whole passage: the weak models that this is for find an answer in a sentence twice as often.
    """
    return f"{_READING}Text: {span.context}\nQuestion: {question}\nAnswer:"


def comes_back(span: Span, reply: str) -> bool:
    """Whether a reply is the answer: it contains it, or, where the answer is no number, is contained in it or mostly agrees."""
    answer, said = normalise(span.text), normalise(reply)
    if not answer or not said:
        return False
    if f" {answer} " in f" {said} ":
        return True
    if span.kind in (Kind.amount, Kind.date):
        return answer.split()[0] == said.split()[0]
    return f" {said} " in f" {answer} " or score(said, [answer]).f1 >= ENOUGH_OVERLAP


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
