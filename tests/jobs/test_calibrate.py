"""`prag calibrate` on the miniature model: what it chooses is a settings file."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs import cli
from prag_core.config.load import load_config
from tests.jobs.conftest import write_questions


def test_thresholds_are_chosen_and_written_as_settings(
    reading_settings: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dev = write_questions(tmp_path / "dev.jsonl", "questions.dev.jsonl", single=6)
    out = tmp_path / "thresholds.yaml"
    arguments = [
        *reading_settings,
        f"calibrate.questions={dev}",
        "calibrate.values=2",
        f"calibrate.out={out}",
    ]
    assert cli.main(["calibrate", *arguments, "calibrate.methods=[flare,flare_lookahead,dragin]"]) == 0
    printed = capsys.readouterr().out
    config = load_config([], str(out)).methods
    for name, value in (
        ("flare: methods.flare_threshold", config.flare_threshold),
        ("flare_lookahead: methods.lookahead_act_below", config.lookahead_act_below),
        ("flare_lookahead: methods.lookahead_blank_below", config.lookahead_blank_below),
        ("dragin: methods.dragin_threshold", config.dragin_threshold),
    ):
        table = printed.split(f"{name}, 6 questions")[1].split("methods.")[0]
        assert f"  {'null' if value is None else f'{value:g}'} *" in table
    assert "null: as published" in out.read_text()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["calibrate.methods=[rag]"], "rag has no threshold; these have: flare"),
        (["calibrate.methods=[]"], "calibrate.methods is empty"),
        (["calibrate.methods=[flare,flare+prag]"], "flare and flare+prag share methods.flare_threshold"),
        (["calibrate.methods=[dragin]", "engine.kind=vllm"], "set engine.kind=transformers"),
        (["calibrate.methods=[adaptive_rag]"], "prag train-router --method adaptive_rag"),
        (["evaluate.questions=${calibrate.questions}"], "is one of evaluate.questions"),
    ],
)
def test_what_cannot_be_calibrated_is_refused_before_a_model_is_loaded(
    wrong: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["calibrate", "engine.kind=transformers", "bank.uri=/nowhere", *wrong]) == 2
    assert message in capsys.readouterr().err
