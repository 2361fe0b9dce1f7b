"""What is wrong with a pair or a rewrite that a model wrote, beyond its form: one reason each, or none.

A weak model given the published prompt copies the prompt's example, states where it should ask, answers what the passage does not
say, and loops. The checks need no model. They are lenient where they cannot know: an answer of yes or no, a question in a
language whose question words they do not have.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping
from enum import Enum
from functools import cache

from prag_core.augmentation.spans import FUNCTION_WORDS, WORD
from prag_core.evaluation.metrics import VERDICTS, normalise
from prag_core.models.prompts import normalise_question
from prag_core.records import QAPair
from prag_core.retrieval.analyzer import Analyzer

EXAMPLE_QUESTION = "What is the capital of France?"  # of the published prompt
LENGTHS = (0.3, 3.0)  # of a rewrite, in words, as a share of the passage's
SHORT = 12  # words of a passage, below which a rewrite's length and loops say little
KEPT_NAMES = 0.5  # share of a passage's names and numbers that a rewrite keeps
SAME_SCRIPT = 0.8  # share of a rewrite's letters in the passage's scripts
REPEATED_TRIPLES = 0.4  # share of a rewrite's triples of words that came before in it
ASKING_NOUNS = "year date time place percent"  # of question words
FEWEST_TERMS = 2  # content words of a question that says what it is about

_QUESTION_MARK = re.compile(r"[?؟？⸮]\W*\Z")
_ASKS = re.compile(
    r"(?:who|what|when|where|which|why|how|whose|whom|do|does|did|is|are|was|were|can|could|will|would|should|has|have|had|may|"
    r"must|in|on|at|to|from|for|by|with|of|under|after|before|during)\b",
    re.IGNORECASE,
)
_NAME_OR_NUMBER = re.compile(r"\d[\d.,:]*(?<![.,:])|(?<![.!?\n]\s)(?<!\A)\b[A-ZÀ-Þ][\w'’-]+")
_EAST_ASIAN = frozenset({"CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO"})


class Reason(Enum):
    """Why something that a model wrote is rejected."""

    copied_example = "copied_example"
    not_a_question = "not_a_question"
    repeated = "repeated"
    not_in_passage = "not_in_passage"
    gives_answer_away = "gives_answer_away"
    about_something_else = "about_something_else"
    answered_otherwise = "answered_otherwise"
    rewrite_loops = "rewrite_loops"
    rewrite_length = "rewrite_length"
    rewrite_loses_names = "rewrite_loses_names"
    rewrite_in_other_script = "rewrite_in_other_script"


TALLIED = ("pairs", "rewrites", "echo_questions", *(reason.value for reason in Reason))


def describe_tally(tally: Mapping[str, int], *, dropped: bool) -> str:
    """Say how many pairs and rewrites a model wrote, and how many of them a check found fault with, by reason."""
    found = {reason.value: tally.get(reason.value, 0) for reason in Reason}
    reasons = ", ".join(f"{name.replace('_', ' ')} {number:,}" for name, number in found.items() if number)
    fate = "rejected" if dropped else "found wanting, and kept (augmentation.checks=count)"
    echoes = f"; {echoed:,} asked by their sentence" if (echoed := tally.get("echo_questions", 0)) else ""
    return (
        f"augmentation: {tally.get('pairs', 0):,} pairs and {tally.get('rewrites', 0):,} rewrites written, "
        f"{sum(found.values()):,} {fate}{f': {reasons}' if reasons else ''}{echoes}"
    )


def folded(question: str) -> str:
    """A question such that two that differ in case, spacing and final marks alone are equal."""
    return " ".join(normalise_question(question).casefold().split())


def pair_problem(pair: QAPair, passage: str, known: Collection[str]) -> Reason | None:
    """Find what is wrong with a pair about `passage` (its title included); `known` are the folded questions that it already
    has."""
    question = folded(pair.question)
    if question == folded(EXAMPLE_QUESTION) and "france" not in passage.casefold():
        return Reason.copied_example
    if not is_question(pair.question):
        return Reason.not_a_question
    if question in known:
        return Reason.repeated
    return None if is_in_passage(pair.answer, passage) else Reason.not_in_passage


def question_problem(question: str, answer: str, passage: str) -> Reason | None:
    """Find what is wrong with a question that was written for an answer of `passage`: its content words are all to be there."""
    if f" {normalise(answer)} " in f" {normalise(question)} ":
        return Reason.gives_answer_away
    asked = _terms(question)
    if len(asked) < FEWEST_TERMS or not asked - _terms(ASKING_NOUNS) <= _terms(passage):
        return Reason.about_something_else
    return None


def is_question(text: str) -> bool:
    """Whether a text asks: it ends in a question mark, or begins as English questions do."""
    stripped = text.strip()
    return bool(_QUESTION_MARK.search(stripped[-8:]) or _ASKS.match(stripped))


def is_in_passage(answer: str, passage: str) -> bool:
    """Whether a passage has every content word of an answer, and its numbers exactly; yes and no are taken to be right."""
    said, text = normalise(answer), normalise(passage)
    if not said:
        return False
    if said in VERDICTS or f" {said} " in f" {text} ":
        return True
    if not text.isascii() and said in text:  # scripts without spaces
        return True
    numbers = {word for word in said.split() if any(map(str.isdigit, word))}
    terms = _terms(answer)
    return bool(terms) and numbers <= set(text.split()) and terms <= _terms(passage)


def rewrite_problem(rewrite: str, passage: str) -> Reason | None:
    """Find what is wrong with a rewrite of `passage`."""
    words, theirs = rewrite.split(), passage.split()
    if _other_script(rewrite, passage):
        return Reason.rewrite_in_other_script
    if len(words) > SHORT and _repeated_triples(words) > REPEATED_TRIPLES:
        return Reason.rewrite_loops
    if len(theirs) > SHORT and not LENGTHS[0] <= len(words) / len(theirs) <= LENGTHS[1]:
        return Reason.rewrite_length
    names = {normalise(name) for name in _NAME_OR_NUMBER.findall(passage)} - {""}
    kept = set(normalise(rewrite).split())
    if names and sum(name in kept for name in names) < KEPT_NAMES * len(names):
        return Reason.rewrite_loses_names
    return None


def _terms(text: str) -> frozenset[str]:
    """The stems of a text's content words."""
    words = (word for word in WORD.findall(text) if word.casefold() not in FUNCTION_WORDS)
    return frozenset(_analyzer()(" ".join(words)))


@cache
def _analyzer() -> Analyzer:
    return Analyzer("english", "english_plus")


def _repeated_triples(words: list[str]) -> float:
    triples = Counter(zip(words, words[1:], words[2:], strict=False))
    return 1 - len(triples) / triples.total()


def _other_script(rewrite: str, passage: str) -> bool:
    theirs, ours = _scripts(passage), _scripts(rewrite)
    return (
        bool(theirs)
        and ours.total() > 0
        and (sum(ours[script] for script in theirs) < SAME_SCRIPT * ours.total())
    )


def _scripts(text: str) -> Counter[str]:
    """How many letters of each script a text has; those of East Asian writing count as one."""
    names = (unicodedata.name(char, "").split(" ")[0].split("-")[0] for char in text if char.isalpha())
    return Counter("CJK" if name in _EAST_ASIAN else name for name in names)
