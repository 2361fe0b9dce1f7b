"""Exact match and token overlap of answers after SQuAD's normalisation, as in the published evaluation.

Source: the evaluation code of "Parametric Retrieval Augmented Generation" (SIGIR 2025), which is HotpotQA's, which is
SQuAD's. The prediction is cut to its first clause; the accepted answers are not.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple, dataclass

MARKER = "the answer is"
CLAUSE_ENDS = (".", "\n", ",")  # in this order
VERDICTS = frozenset({"yes", "no", "noanswer"})
ARTICLES = re.compile(r"\b(a|an|the)\b")
NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True, slots=True)
class Score:
    """Exact match and token overlap of one answer, each from 0 to 1."""

    em: float
    f1: float
    precision: float
    recall: float


def extract_answer(text: str, cot: bool = False) -> str:
    """Extract the short answer from what a model wrote: with `cot` what follows the first "the answer is" (case-sensitive; all of
    it where that is missing), then cut at the first ".", at the first newline, at the first ","."""
    if cot and MARKER in text:
        text = text.split(MARKER, 1)[1]
    text = text.strip()
    for end in CLAUSE_ENDS:
        text = text.split(end, 1)[0].strip()
    return text


def normalise(answer: str) -> str:
    """Normalise to lower case without ASCII punctuation and articles, with single spaces."""
    return " ".join(ARTICLES.sub(" ", answer.lower().translate(NO_PUNCTUATION)).split())


def score(prediction: str, golds: Sequence[str]) -> Score:
    """Return the best of each measure over the accepted answers. Overlap is 0 where one says yes, no or noanswer and the other
    something else; two answers of which nothing is left (as "the") overlap fully, as in SQuAD 2."""
    scores = [astuple(_score(normalise(prediction), normalise(gold))) for gold in golds]
    return Score(*map(max, zip(*scores, strict=True))) if scores else Score(0.0, 0.0, 0.0, 0.0)


def _score(prediction: str, gold: str) -> Score:
    if prediction == gold:
        return Score(1.0, 1.0, 1.0, 1.0)
    if prediction in VERDICTS or gold in VERDICTS:
        return Score(0.0, 0.0, 0.0, 0.0)
    predicted, accepted = prediction.split(), gold.split()
    num_common = sum((Counter(predicted) & Counter(accepted)).values())
    if num_common == 0:
        return Score(0.0, 0.0, 0.0, 0.0)
    precision, recall = num_common / len(predicted), num_common / len(accepted)
    return Score(0.0, 2 * precision * recall / (precision + recall), precision, recall)
