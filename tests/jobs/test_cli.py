"""The command line: every verb is there and helps, and mistakes end in one line and a non-zero exit code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from jobs import cli
from prag_core.config.command_line import READS, settings_help
from prag_core.errors import BankError, ConfigError

ROOT = Path(__file__).resolve().parents[2]


def test_no_arguments_and_help_list_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["--help"], ["help"]):
        assert cli.main(arguments) == 0
        printed = capsys.readouterr().out
        assert all(f"  {verb} " in printed for verb in cli.VERBS)


def test_an_unknown_verb_names_the_nearest_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["parametrize"]) == 2
    assert "did you mean parameterize?" in capsys.readouterr().err


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_has_help_with_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main([verb, "--help"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert f"usage: prag {verb}" in printed and "example" in printed


@pytest.mark.parametrize(
    ("error", "status"), [(BankError("no bank at x; make one"), 1), (ConfigError("unknown setting y"), 2)]
)
def test_what_the_user_can_mend_is_one_line_without_a_traceback(
    error: Exception, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import jobs.plan

    def fail(_: list[str]) -> int:
        raise error

    monkeypatch.setattr(jobs.plan, "main", fail)
    assert cli.main(["plan"]) == status
    assert capsys.readouterr().err == f"error: {error}\n"


@pytest.mark.parametrize("verb", READS)
def test_every_verb_describes_the_settings_that_it_reads(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main([verb, "--help-settings"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == settings_help(verb)


def test_serving_without_its_extra_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "fastapi", None)  # what importlib takes for a package that is not there
    assert cli.main(["serve"]) == 2
    said = 'error: prag serve needs fastapi, not installed here; run: pip install "prag[serve]"\n'
    assert capsys.readouterr().err == said


def test_a_defect_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    import jobs.plan

    def fail(_: list[str]) -> int:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(jobs.plan, "main", fail)
    with pytest.raises(ZeroDivisionError):
        cli.main(["plan"])


@pytest.mark.parametrize("verb", ["parameterize", "index", "evaluate", "plan"])
def test_a_verb_is_also_a_module_with_the_same_errors(verb: str) -> None:
    command = [sys.executable, "-m", f"jobs.{verb}", "trainig.epochs=2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: unknown setting trainig") and "Traceback" not in done.stderr


def test_print_config_resolves_recipe_and_overrides(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["plan", "--print-config", "recipe=mini", "training.epochs=7"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert "epochs: 7" in printed and "recipe: mini" in printed and "replay.jsonl" in printed
