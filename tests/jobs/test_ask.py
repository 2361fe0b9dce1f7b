"""What `prag ask` shows of an answer."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from jobs import cli
from jobs.ask import show
from prag_core.records import Answer, Passage, Round

ADA, BO = Passage("d1", 0, "Ada", "text", 2.5), Passage("d2", 0, "Bo", "text", 1.0)
ANSWER = Answer(
    "Rome.", passages=(ADA,), rounds=(Round("Where [was] Ada?", (ADA, BO)), Round("river", ())), num_tokens=41
)


def shown(*, trace: bool) -> str:
    console = Console(file=io.StringIO(), width=100)
    show(ANSWER, "Rome", console, trace=trace)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_the_trace_has_every_query_and_what_it_found() -> None:
    text = shown(trace=True)
    assert "retrieval 1: 'Where [was] Ada?' → Ada (2.50), Bo (1.00)" in text
    assert "retrieval 2: 'river' → nothing" in text
    assert "retrieval 1" not in shown(trace=False)
    assert "2 retrievals, 41 tokens generated" in shown(trace=False)


def test_a_method_that_the_engine_cannot_run_is_refused_before_the_bank_is_opened(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["ask", "Who?", "--method", "dragin", "bank.uri=/nowhere/bank"]) != 0
    assert "set engine.kind=transformers" in capsys.readouterr().err


def test_the_strategy_that_was_chosen_is_shown() -> None:
    console = Console(file=io.StringIO(), width=100)
    show(replace(ANSWER, route="ircot"), "Rome", console)
    assert "answered by ircot" in console.file.getvalue()  # type: ignore[attr-defined]
    assert "answered by" not in shown(trace=True)
