"""`prag keys`: a key that was added works until it is removed, and is shown once."""

from __future__ import annotations

import re
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cluster.keys.key_file import load_keys
from jobs import cli
from prag_core.retrieval.filters import Filter

NOW = datetime(2026, 7, 1, tzinfo=UTC)


def run(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    assert cli.main(["keys", *arguments]) == status
    printed = capsys.readouterr()
    return (printed.err if status else printed.out).strip()


def test_a_key_is_added_listed_and_removed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new" / "keys.yaml"
    limits = ["--requests-per-minute", "60", "--tokens-per-minute", "20000", "--concurrent", "4"]
    conditions = ["--filter", "tenant=acme", "--filter", "year=1999"]
    one = run(capsys, "add", str(path), "--name", "acme", *limits, *conditions, "--expires", "2030-01-31")
    two = run(capsys, "add", str(path), "--name", "other")
    assert one not in path.read_text() and one.split("-", 2)[2] not in path.read_text()

    found = load_keys(path).verify(one, NOW)
    assert found is not None and found.filter == Filter.from_text(["tenant=acme", "year=1999"])
    assert load_keys(path).verify(one, datetime(2030, 1, 31, tzinfo=UTC)) is None

    listed = run(capsys, "ls", str(path))
    for text in (
        "acme",
        "60 requests a minute",
        "20,000 tokens a minute",
        "tenant: acme",
        "2030-01-31",
        found.id,
    ):
        assert text in listed
    assert found.sha256 not in listed and one not in listed

    run(capsys, "rm", str(path), "acme")
    assert load_keys(path).verify(one, NOW) is None and load_keys(path).verify(two, NOW) is not None
    run(capsys, "rm", str(path), two.split("-")[1])
    assert len(load_keys(path)) == 0


def test_names_and_filters_are_listed_letter_for_letter(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "keys.yaml")
    run(capsys, "add", path, "--name", "[/r/]python", "--filter", "tenant=arXiv:2301.1[cs.CL]")
    listed = run(capsys, "ls", path)
    assert "[/r/]python" in listed and "tenant: arXiv:2301.1[cs.CL]" in listed
    assert "[/r/]python" in run(capsys, "rm", path, "[/r/]python")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rm", "keys.yaml", "nobody"], r"no keys are called 'nobody'; give one id of .*\(twin\)"),
        (["rm", "keys.yaml", "twin"], "2 keys are called 'twin'; give one id of"),
        (["ls", "none.yaml"], "no such key file"),
        (["add", "keys.yaml", "--name", "x", "--concurrent", "0"], "concurrent is 0"),
        (["add", "keys.yaml", "--name", "x", "--filter", "tenant"], "expected field=value"),
        (["add", "keys.yaml", "--name", "x", "--expires", "soon"], "'soon'"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        run(capsys, "add", "keys.yaml", "--name", "twin")
    before = (tmp_path / "keys.yaml").read_bytes()
    said = run(capsys, *arguments, status=2)
    assert said.startswith("error: ") and re.search(message, said)
    assert (tmp_path / "keys.yaml").read_bytes() == before


def test_of_keys_added_at_once_none_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    adding = [
        threading.Thread(target=cli.main, args=(["keys", "add", str(path), "--name", f"n{i}"],))
        for i in range(8)
    ]
    for thread in adding:
        thread.start()
    for thread in adding:
        thread.join()
    assert len(load_keys(path)) == 8
