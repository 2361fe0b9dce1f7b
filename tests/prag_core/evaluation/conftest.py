"""One small evaluation with answers chosen by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from prag_core.config.load import load_config
from prag_core.config.schema import Config
from prag_core.evaluation.report import Answered, Origin, Report, build_report
from prag_core.records import Answer, Passage, Question

QUESTIONS = [
    Question("q1", "Where?", ("Rome",), ("d1",), "single"),
    Question("q2", "Who?", ("Ada Lovelace", "Ada"), ("d2",), "single"),
    Question("q3", "When?", ("1912",), ("d3", "d4"), "bridge"),
    Question("q4", "Is it?", ("yes",), ("d5", "d6"), "comparison"),
]
TEXTS = {
    "closed_book": ["Paris.", "Bob.", "1913.", "no."],
    "rag": ["Rome.", "Ada Byron, of course", "1912\nQuestion", "yes."],
    "prag": ["Rome.", "Ada.", "1913.", "yes."],
}
ASKED = {"q1": True, "q2": False}


@pytest.fixture
def make_report() -> Callable[..., Report]:
    """`make_report(config, texts, …)`: every question by every method; retrieval finds d1, then d9."""

    def make(
        config: Config | None = None,
        texts: dict[str, list[str]] = TEXTS,
        origins: dict[str, Origin] | None = None,
        cot: dict[str, bool] | None = None,
        **more: Any,
    ) -> Report:
        found = (Passage("d1", 0, "T", "t", 2.0), Passage("d9", 0, "T", "t", 1.0))
        origins, cot = origins or {}, cot or {}
        answers = {
            name: [
                Answer(
                    text,
                    passages=found,
                    adapters=(("d1", 0),),
                    timings_ms={"retrieve": 1.0, "generate": float(i)},
                )
                for i, text in enumerate(lines)
            ]
            for name, lines in texts.items()
        }
        config = config or load_config(["evaluate.num_resamples=200"])
        answered = {
            name: Answered(given, cot.get(name, False), origins.get(name)) for name, given in answers.items()
        }
        return build_report(
            QUESTIONS, answered, config, asked=ASKED, retrieved=[found] * len(QUESTIONS), **more
        )

    return make
