"""Quality and cost of one answering strategy: a row of the tables that calibration and router training choose by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prag_core.evaluation.metrics import extract_answer, score
from prag_core.evaluation.statistics import mean_interval
from prag_core.evaluation.tables import interval, percent
from prag_core.records import Answer, Question

NUM_RESAMPLES = 2000
HEADER = ("EM", "F1", "F1 95 %", "retrievals", "tokens", "ms")


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Means over questions; F1 with its 95 % interval. Times are a question's share of its batch's."""

    name: str
    em: float
    f1: float
    f1_ci: tuple[float, float]
    retrievals: float
    tokens: float
    ms: float

    def cells(self) -> tuple[str, ...]:
        """Format the values as text, under HEADER."""
        scores = (percent(self.em), percent(self.f1), interval(self.f1_ci))
        return (*scores, f"{self.retrievals:.2f}", f"{self.tokens:.1f}", f"{self.ms:.1f}")


def summarise(name: str, questions: Sequence[Question], answers: Sequence[Answer], cot: bool) -> Summary:
    """Average the scores and costs of answers; with `cot` they are read after their reasoning."""
    scores = [
        score(extract_answer(answer.text, cot), q.answers)
        for q, answer in zip(questions, answers, strict=True)
    ]
    f1 = [one.f1 for one in scores]
    return Summary(
        name=name,
        em=float(np.mean([one.em for one in scores])),
        f1=float(np.mean(f1)),
        f1_ci=mean_interval(f1, num_resamples=NUM_RESAMPLES, seed=0),
        retrievals=float(np.mean([len(answer.rounds) for answer in answers])),
        tokens=float(np.mean([answer.num_tokens for answer in answers])),
        ms=float(np.mean([sum(answer.timings_ms.values()) for answer in answers])),
    )
