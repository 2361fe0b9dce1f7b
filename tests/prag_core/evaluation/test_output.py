import io
import json
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest
from rich.console import Console

from prag_core.errors import StorageError
from prag_core.evaluation.output import show_report, write_report
from prag_core.evaluation.report import Report
from prag_core.evaluation.tables import text_tables
from prag_core.terminal.console import open_console

Make = Callable[..., Report]


def test_the_folder_holds_the_report_its_tables_plots_and_every_answer(
    make_report: Make, tmp_path: Path
) -> None:
    report = make_report()
    written = write_report(report, f"{tmp_path}/new/out/")
    assert [Path(path).name for path in written] == [
        "report.json",
        "report.md",
        "f1.svg",
        "f1.png",
        "predictions.jsonl",
    ]
    assert sorted(path.name for path in (tmp_path / "new/out").iterdir()) == sorted(
        Path(path).name for path in written
    )
    assert json.loads(Path(written[0]).read_text(encoding="utf-8")) == json.loads(
        json.dumps(report.to_json())
    )
    assert len(Path(written[-1]).read_text(encoding="utf-8").splitlines()) == 12


def test_it_is_written_to_any_file_system_the_report_last(
    make_report: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []
    store = fsspec.filesystem("memory")
    pipe = type(store).pipe_file

    def record(self: object, path: str, *rest: object) -> None:
        names.append(path)
        pipe(self, path, *rest)

    monkeypatch.setattr(type(store), "pipe_file", record)
    write_report(make_report(), "memory://output-test")
    assert names[-1].endswith("output-test/report.json")
    assert json.loads(store.cat_file("/output-test/report.json"))["num_questions"] == 4


def test_a_folder_that_cannot_be_written_is_the_users_to_mend(make_report: Make, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="a part of this path is a file"):
        write_report(make_report(), str(tmp_path / "file"))


def test_the_terminal_shows_every_figure_within_a_hundred_columns(make_report: Make) -> None:
    buffer = io.StringIO()
    report = make_report()
    show_report(report, Console(file=buffer, width=100))
    lines = buffer.getvalue().splitlines()
    assert max(map(len, lines)) <= 100
    shown = [line.split() for line in lines]
    for table in text_tables(report):
        for row in (table.header, *table.rows):
            assert " ".join(row).split() in shown


def test_without_a_terminal_a_table_is_as_wide_as_it_needs_to_be(
    make_report: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    name = f"prag@{'a long label ' * 12}"
    buffer = io.StringIO()
    show_report(make_report(texts={name: ["Rome."] * 4}), open_console(buffer))
    (line, *_) = (line for line in buffer.getvalue().splitlines() if line.strip().startswith("prag@"))
    assert name.strip() in line and line.split()[-5:-3] == ["25.0", "25.0"]


def test_names_with_brackets_are_printed_letter_for_letter(make_report: Make) -> None:
    buffer = io.StringIO()
    report = make_report(texts={"prag@k [/b] 1[red]": ["Rome."] * 4}, title="[bold]T[/bold] [/x]")
    show_report(report, open_console(buffer))
    assert "prag@k [/b] 1[red]" in buffer.getvalue() and "[bold]T[/bold] [/x]" in buffer.getvalue()
