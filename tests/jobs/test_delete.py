from __future__ import annotations

from pathlib import Path

import pytest

from jobs import cli


def test_help_says_what_becomes_of_the_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main(["delete", "--help"])
    assert "gc" in capsys.readouterr().out


def test_where_there_is_no_bank_it_is_one_line_and_exit_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["delete", str(tmp_path / "bank"), "--doc-id", "a"]) == 1
    assert capsys.readouterr().err.startswith("error: ") and not (tmp_path / "bank").exists()
