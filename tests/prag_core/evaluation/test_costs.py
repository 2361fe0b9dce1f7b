"""A row is what a question scores and costs on average."""

from __future__ import annotations

from prag_core.evaluation.costs import HEADER, summarise
from prag_core.records import Answer, Question, Round

QUESTIONS = [Question("1", "Who?", ("Bo",)), Question("2", "Who?", ("Ada Byron",))]


def test_means_are_over_the_questions() -> None:
    answers = [
        Answer(
            "Bo.",
            timings_ms={"retrieve": 1.0, "generate": 4.0},
            rounds=(Round("a", ()), Round("b", ())),
            num_tokens=30,
        ),
        Answer("Ada.", timings_ms={"generate": 3.0}, num_tokens=10),
    ]
    row = summarise("rag", QUESTIONS, answers, cot=False)
    assert (row.em, row.f1, row.retrievals, row.tokens, row.ms) == (0.5, (1 + 2 / 3) / 2, 1.0, 20.0, 4.0)
    assert row.f1_ci[0] <= row.f1 <= row.f1_ci[1]
    assert len(row.cells()) == len(HEADER) and row.cells()[:2] == ("50.0", "83.3")


def test_reasoned_answers_are_read_after_their_marker() -> None:
    answers = [Answer("He is Bo. So the answer is Bo."), Answer("the answer is Ada Byron.")]
    assert summarise("rag", QUESTIONS, answers, cot=True).em == 1.0
    assert summarise("rag", QUESTIONS, answers, cot=False).em == 0.0
