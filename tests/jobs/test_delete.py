from __future__ import annotations

from pathlib import Path

import pytest

from jobs import cli, delete
from prag_core.bank import Bank, Snapshot, delete_documents
from tests.prag_core.bank.world import World


def test_help_says_what_becomes_of_the_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main(["delete", "--help"])
    assert "gc" in capsys.readouterr().out


def test_another_commands_snapshot_between_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    bank = world.fill(world.bank(str(tmp_path / "bank"))).bank
    between: list[str] = []

    def overtaken(bank: Bank, doc_ids: list[str]) -> Snapshot:
        between.append(bank.write_snapshot(world.wanted(world.documents("abc"))).name)
        return delete_documents(bank, doc_ids)

    assert cli.main(["delete", bank.uri, "--doc-id", "a"]) == 0
    assert "another command" not in capsys.readouterr().out
    monkeypatch.setattr(delete, "delete_documents", overtaken)
    assert cli.main(["delete", bank.uri, "--doc-id", "b"]) == 0
    assert f"another command published snapshot {between[0]} meanwhile" in capsys.readouterr().out


def test_where_there_is_no_bank_it_is_one_line_and_exit_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["delete", str(tmp_path / "bank"), "--doc-id", "a"]) == 1
    assert capsys.readouterr().err.startswith("error: ") and not (tmp_path / "bank").exists()
