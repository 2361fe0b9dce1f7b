"""What `prag ask` shows of an answer, and that it shows nothing else."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from jobs import cli
from jobs.ask import show
from prag_core.records import Answer, Passage, Round
from prag_core.terminal.console import open_console

ADA, BO = Passage("d1", 0, "Ada", "text", 2.5), Passage("d2", 0, "Bo", "text", 1.0)
ANSWER = Answer(
    "Rome.", passages=(ADA,), rounds=(Round("Where [was] Ada?", (ADA, BO)), Round("river", ())), num_tokens=41
)


def shown(*, trace: bool) -> str:
    return printed(ANSWER, "Rome", trace=trace)


def printed(answer: Answer, short: str, *, trace: bool = False) -> str:
    buffer = io.StringIO()
    show(answer, short, open_console(buffer), trace=trace)
    return buffer.getvalue()


def test_the_trace_has_every_query_and_what_it_found() -> None:
    text = shown(trace=True)
    assert "retrieval 1: “Where [was] Ada?” → Ada (2.50), Bo (1.00)" in text
    assert "retrieval 2: “river” → nothing" in text
    assert "retrieval 1" not in shown(trace=False)
    assert "2 retrievals, 41 tokens generated" in shown(trace=False)


def test_a_method_that_the_engine_cannot_run_is_refused_before_the_bank_is_opened(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["ask", "Who?", "--method", "dragin", "bank.uri=/nowhere/bank"]) != 0
    assert "set engine.kind=transformers" in capsys.readouterr().err


def test_the_strategy_that_was_chosen_is_shown() -> None:
    assert "answered by ircot" in printed(replace(ANSWER, route="ircot"), "Rome")
    assert "answered by" not in shown(trace=True)


def test_ids_titles_answers_queries_and_reasons_are_shown_letter_for_letter() -> None:
    passage = Passage("[/r/]python", 0, "arXiv:2301.1[cs.CL]", "text", 2.5)
    other = Passage("[red]", 1, "[link=x]:smile:[/link]", "text", 1.0)
    answer = Answer(
        "[/b] it's \\frac{1}{2}",
        passages=(passage, other),
        rounds=(Round("is [x] 'it'?", (passage, other)),),
        degraded=((other.key, "not a LoRA [/tensor]"),),
        route="[adaptive]",
    )
    shown = printed(answer, "[/b] it's", trace=True)
    assert shown.startswith("[/b] it's\n[/b] it's \\frac{1}{2}\nanswered by [adaptive]\n")
    for text in (
        "[/r/]python#0",
        "arXiv:2301.1[cs.CL]",
        "[red]#1",
        "[link=x]:smile:[/link]",
        "not a LoRA [/tensor]",
    ):
        assert text in shown
    assert "retrieval 1: “is [x] 'it'?” → arXiv:2301.1[cs.CL] (2.50)" in shown


def run_ask(settings: list[str], cache: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "jobs.cli",
            "ask",
            "Where is Jelamnax?",
            "--method",
            "rag",
            *options,
            *settings,
        ],
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, "XDG_CACHE_HOME": str(cache)},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_as_a_process_it_prints_the_answer_and_nothing_else(
    reading_settings: list[str], tmp_path: Path
) -> None:
    """Warnings and bars of libraries are in the log; with --verbose they are shown."""
    done = run_ask(reading_settings, tmp_path, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    answer = Answer(**json.loads(done.stdout))
    assert len(answer.passages) == 3
    assert "Loading weights" in (tmp_path / "prag/logs/ask.log").read_text()

    done = run_ask(reading_settings, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    first, *table, last = done.stdout.splitlines()
    assert first and all(line == answer.text.strip() or line[0] in "┏┃┡│└" for line in table)
    assert re.fullmatch(r"(\w+ \d+ ms(, |; ))+1 retrieval, \d+ tokens generated", last)

    assert "Loading weights" in run_ask(reading_settings, tmp_path, "--verbose").stderr
