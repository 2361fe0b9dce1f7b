"""Answers worth asking for, taken from a passage by rules: amounts, dates, codes, names and noun phrases, each in its sentence.

The rules are for English and read no dictionary: digits and capital letters say most, and a phrase is a run of words between
function words. They find too much rather than too little, because a pair that comes of a span is checked. Of text in another
language they find numbers and names, and longer phrases.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import chain, zip_longest

from prag_core.text.sentences import sentence_spans

MOST_WORDS = 5  # of a phrase
FEWEST_CHARACTERS = 4  # of a phrase
NO_SPANS = "its text has nothing that an answer could be: no number, name or phrase"  # why a document cannot be asked
FEWEST_OTHERS = 2  # content words of a sentence beside an answer, which ask for it

_FUNCTION_WORDS = (
    "a about above after again against all also although always am an and another any are around as at away back be because "
    "been before being below between both but by can cannot could did do does down during each either else enough even ever "
    "every few first for from get gets go goes had has have he her here hers him his how however i if in instead into is it "
    "its itself just last least less let like many may me might more most much must my near neither never next no nobody "
    "none nor not nothing now of off often on once only or other our ours out over own per please rather s same shall she "
    "should since so some soon still such than that the their them then there these they this those though through till to "
    "together too under until up upon us very was we were what when where whether which while who whom whose why will with "
    "within without would yes yet you your"
)
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())
_OPENERS = (
    "a about after against an another any are at be been before behind by each every for from her his in into is its my near no "
    "of on other our over per some than the their these this those through to under was were with without your"
)
_BEFORE_NOUNS = frozenset(_OPENERS.split())
_COUNTS = (
    "one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|"
    "nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|thousand|million|billion|dozen"
)
_MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"
_DIGITS = r"\d{1,15}(?:[.,:]\d{1,15}){0,4}(?:\s?[-–]\s?\d{1,15}(?:[.,]\d{1,15})?)?"
_MODIFIER = r"(?:\s(?:[a-z]{3,12}(?:ing|ed)|full|whole|calendar|new|old|small|large|square|cubic))"
_UNIT = rf"(?:\s(?!(?:{'|'.join(sorted(FUNCTION_WORDS))})\b)[a-zà-ÿ°%][\w°/%'’-]{{0,30}})"
_NUMBERED = (
    "room|form|channel|version|page|step|level|number|type|model|section|line|unit|gate|floor|building|hall|bay|grade|"
    "size|class"
)
_NAME_WORD = r"(?:[A-ZÀ-ÖØ-Þ][\w'’&.-]{0,30}\w|[A-Z]\b)"
_JOINT = r"(?:\s(?:of|de|la|the|van|von|der|del|di|da|and|&)(?=\s[A-ZÀ-Þ]))"


class Kind(Enum):
    """What told a span: its kind of question word follows from it."""

    amount = "amount"
    date = "date"
    code = "code"
    name = "name"
    phrase = "phrase"


# in time linear in the text: every repetition is bounded, or of characters that cannot begin what follows it
PATTERNS = {
    Kind.date: re.compile(
        rf"\b(?:(?:\d{{1,2}}(?:st|nd|rd|th)?\s)?(?:{_MONTHS})(?:\s\d{{1,2}}(?:st|nd|rd|th)?(?:,\s\d{{4}})?)?(?:,?\s\d{{4}})?"
        r"|\d{4}-\d{2}-\d{2}|1[0-9]{3}|20[0-9]{2})(?![\w-])"
    ),
    Kind.code: re.compile(
        rf"\b(?:[A-Z]{{1,4}}-?\d[\w-]{{0,20}}|(?:[A-Z][a-z]{{1,20}}|{_NUMBERED})\s\d{{1,9}}(?:\.\d{{1,9}}){{0,2}}"
        r"|\d{1,4}(?:st|nd|rd|th))(?![\w-])"
    ),
    Kind.amount: re.compile(
        rf"(?:[$€£¥]\s?{_DIGITS}(?:\s(?:million|billion|thousand))?"
        rf"|\b(?:{_DIGITS}|(?:{_COUNTS})(?:[-\s](?:{_COUNTS})){{0,4}})(?:\s(?:{_COUNTS}))?"
        rf"(?:\s?%|{_MODIFIER}?{_UNIT})?)(?!\w)",
        re.IGNORECASE,
    ),
    Kind.name: re.compile(rf"\b{_NAME_WORD}(?:{_JOINT}?\s{_NAME_WORD}){{0,6}}"),
}
WORD = re.compile(r"[^\W_](?:[\w'’./&-]*\w)?")


@dataclass(frozen=True, slots=True)
class Span:
    """A candidate answer: where it stands in a sentence of the passage. `lead` is the question that the sentence answers, in a
    passage of questions and answers; else empty."""

    kind: Kind
    sentence: str
    start: int
    end: int
    lead: str = ""

    @property
    def text(self) -> str:
        return self.sentence[self.start : self.end]

    @property
    def context(self) -> str:
        """The sentence, after its lead."""
        return f"{self.lead} {self.sentence}" if self.lead else self.sentence


def choose_spans(text: str, count: int) -> list[Span]:
    """Choose at most `count` spans, spread over the sentences: the first of each, then the second of each, and so on. No two
    have the same text."""
    by_sentence = [list(_spans_in(sentence, lead)) for lead, sentence in _sentences(text)]
    chosen: dict[str, Span] = {}
    for span in chain.from_iterable(zip_longest(*by_sentence)):
        if span and len(chosen) < count:
            chosen.setdefault(span.text.casefold(), span)
    return list(chosen.values())


def _sentences(text: str) -> Iterator[tuple[str, str]]:
    """Yield each sentence that states something, after the question before it, if there is one."""
    lead = ""
    for start, end in sentence_spans(text):
        sentence = text[start:end].strip()
        if sentence.endswith("?"):
            lead = sentence
        elif WORD.search(sentence):
            yield lead, sentence
            lead = ""


def _spans_in(sentence: str, lead: str) -> Iterator[Span]:
    """Yield dates, codes, amounts, names, then phrases, the longest first; none overlaps an earlier one."""
    taken: list[tuple[int, int]] = []
    marked = (
        (kind, *_without_capital(sentence, kind, match))
        for kind, pattern in PATTERNS.items()
        for match in pattern.finditer(sentence)
    )
    for kind, start, end in chain(marked, _phrases(sentence)):
        if start == end or any(start < last and first < end for first, last in taken):
            continue
        taken.append((start, end))
        others = [*WORD.findall(lead), *WORD.findall(sentence[:start]), *WORD.findall(sentence[end:])]
        if sum(word.casefold() not in FUNCTION_WORDS for word in others) >= FEWEST_OTHERS:
            yield Span(kind, sentence, start, end, lead)


def _without_capital(sentence: str, kind: Kind, match: re.Match[str]) -> tuple[int, int]:
    """Take a name without a function word that begins it, and no name of one word that begins the sentence: its capital letter
    says nothing."""
    start, end = match.span()
    if kind is Kind.name:
        first, _, rest = match.group().partition(" ")
        if first.casefold() in FUNCTION_WORDS:
            start = end - len(rest)
        elif not rest and not WORD.search(sentence[:start]):
            start = end
    return start, end


def _phrases(sentence: str) -> Iterator[tuple[Kind, int, int]]:
    """Yield runs of words without function words or punctuation between them, the longest first, where the word before them
    says that a noun may follow."""
    runs: list[list[re.Match[str]]] = [[]]
    end, opens = 0, True
    for word in WORD.finditer(sentence):
        if sentence[end : word.start()].strip():
            runs.append([])
            opens = False
        if word.group().casefold() in FUNCTION_WORDS:
            runs.append([])
            opens = word.group().casefold() in _BEFORE_NOUNS
        elif opens:
            runs[-1].append(word)
        end = word.end()
    for run in sorted(filter(_is_phrase, runs), key=len, reverse=True):
        yield Kind.phrase, run[0].start(), run[-1].end()


def _is_phrase(run: Sequence[re.Match[str]]) -> bool:
    return 0 < len(run) <= MOST_WORDS and run[-1].end() - run[0].start() >= FEWEST_CHARACTERS


def question_word(span: Span) -> str:
    """Return what asks for a span in its own place: "how many euros", "which room", "who". A name after "in" is a place's, and
    one of several words else a person's; where that is wrong the question is odd, not false."""
    before = span.sentence[: span.start].casefold().split()[-1:]
    if span.kind is Kind.amount:
        return _how_many(span.text, before)
    if span.kind is Kind.date:
        return "which year" if span.text.isdecimal() else "which date"
    words = span.text.split()
    if span.kind is Kind.code and len(words) == 2 and words[0].islower():
        return f"which {words[0]}"
    if span.kind is Kind.name and before in (["in"], ["at"], ["near"]):
        return "where" if span.end == len(span.sentence.rstrip(" .!")) else "which place"
    return "who" if span.kind is Kind.name and len(words) > 1 and before != ["the"] else "what"


def _how_many(amount: str, before: Sequence[str]) -> str:
    number, *unit = amount.split()
    while unit and unit[0] in _COUNTS.split("|"):
        unit.pop(0)
    if ":" in number or (before in (["at"], ["until"], ["till"]) and not unit):
        return "what time"
    if number[0] in "$€£¥":
        return "how much"
    return " ".join(["how many", *(["percent"] if "%" in amount else unit)])
