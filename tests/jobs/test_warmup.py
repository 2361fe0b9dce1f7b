"""`prag warmup` at the command line: a file, the command that goes on, and mistakes in a line."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from examples.mini.warmup import warmup_questions
from jobs import cli
from prag_core.bank import read_warm_start


@pytest.fixture
def settings(tmp_path: Path) -> list[str]:
    rows = itertools.islice(warmup_questions(), 12)
    (tmp_path / "questions.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return [f"warmup.questions={tmp_path}/questions.jsonl", f"warmup.out={tmp_path}/out/warm.safetensors"]


def test_it_writes_the_file_says_how_to_go_on_and_is_done_the_second_time(
    settings: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out/warm.safetensors"
    assert cli.main(["warmup", *settings]) == 0
    printed = capsys.readouterr()
    made = read_warm_start(str(out))
    assert made is not None and made.sha256[:16] in printed.out
    assert f"prag parameterize training.initial={out}" in printed.out
    assert "12 questions, of 2,000 wanted: the questions came to an end" in printed.out
    assert "questions learned: 12 of 12" in printed.err
    written = out.stat().st_mtime_ns
    assert cli.main(["warmup", *settings]) == 0
    printed = capsys.readouterr()
    assert "there already" in printed.out and "learned" not in printed.err
    assert out.stat().st_mtime_ns == written


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("warmup.epochs=0", "warmup.epochs=0: expected a whole number, at least 1"),
        ("warmup.learning_rate=0", "learning_rate"),
        ("warmup.num_question=3", "did you mean warmup.num_questions?"),
        ("warmup.questions=/nowhere.jsonl", "warmup.questions=/nowhere.jsonl: no such file"),
        ("training.objective=guess", "training.objective=guess"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(
    setting: str, said: str, settings: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["warmup", *settings, setting]) != 0
    message = capsys.readouterr().err
    assert message.startswith("error: ") and said in message and message.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_bank_is_refused_a_start_that_does_not_fit(
    settings: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["warmup", *settings]) == 0
    start = f"training.initial={tmp_path}/out/warm.safetensors"
    for setting, said in ((start, "ask for rank 4"), (f"{start}x", "no such file; prag warmup makes one")):
        capsys.readouterr()
        assert cli.main(["plan", f"bank.uri={tmp_path}/bank", setting, "training.rank=4"]) != 0
        assert said in capsys.readouterr().err
