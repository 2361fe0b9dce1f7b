"""The command line: every verb is there and helps, and mistakes end in one line and a non-zero exit code."""

from __future__ import annotations

import importlib
import os
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


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        ("plan", "Interrupted.\n"),
        ("parameterize", "Interrupted. The same command goes on where it stopped.\n"),
    ],
)
def test_an_interrupt_promises_to_go_on_only_where_the_verb_does(
    verb: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(_: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib.import_module(f"jobs.{verb}"), "main", interrupt)
    assert cli.main([verb]) == 130
    assert capsys.readouterr().err == said


def test_a_defect_of_ours_is_shown_with_its_traceback_and_the_log_of_the_libraries(tmp_path: Path) -> None:
    fail = "def fail(_): print('noise'); 1 / 0"
    script = f"from jobs import cli, plan\n{fail}\nplan.main = fail\nraise SystemExit(cli.start('plan'))"
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1 and done.stdout == ""
    *_, error, last = done.stderr.splitlines()
    assert error == "ZeroDivisionError: division by zero"
    assert last == f"What libraries printed is in {tmp_path}/prag/logs/plan.log."
    assert (tmp_path / "prag/logs/plan.log").read_text() == "noise\n"


def test_a_reader_that_ends_before_the_output_does_is_no_traceback() -> None:
    command = f"{sys.executable} -m jobs.cli --help | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr == "" and done.returncode in (0, 1), (
        "0: it was all read into the pipe before `true` ended"
    )


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
