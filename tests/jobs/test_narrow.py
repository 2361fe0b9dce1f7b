"""`prag narrow` writes a corpus that parameterize reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs import cli
from prag_core.config.schema import CorpusConfig
from prag_core.corpus.reader import read_corpus

TSV = "id\ttext\ttitle\n" + "".join(
    f'{i}\t"town {i} lies on the ""river"" number{i}"\tTown {i}\n' for i in range(1, 40)
)


@pytest.fixture
def settings(tmp_path: Path) -> list[str]:
    (tmp_path / "psgs_w100.tsv").write_text(TSV)
    rows = [
        {
            "ID": f"q{i}",
            "question": f"Where is number{i}?",
            "compositionality_type": kind,
            "answers": [{"answer": "there"}],
        }
        for i, kind in ((7, "conjunction"), (9, "composition"), (11, "composition"))
    ]
    (tmp_path / "cwq.json").write_text(json.dumps(rows))
    files = [f"corpus.uri={tmp_path}/psgs_w100.tsv", f"evaluate.questions={tmp_path}/cwq.json"]
    return [*files, "--out", f"{tmp_path}/out/small.jsonl"]


def read(tmp_path: Path) -> list[tuple[str, str]]:
    return [(d.doc_id, d.title) for d in read_corpus(CorpusConfig(uri=f"{tmp_path}/out/small.jsonl"))]


def test_the_passages_of_the_chosen_questions_are_kept(
    settings: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["narrow", *settings, "--depth", "1"]) == 0
    assert read(tmp_path) == [("7", "Town 7"), ("9", "Town 9"), ("11", "Town 11")]
    assert "3 of 39 documents; retrieval from these alone finds 100.0 %" in capsys.readouterr().out
    assert (
        cli.main(["narrow", *settings, "--depth", "1", "evaluate.type=composition", "evaluate.limit=1"]) == 0
    )
    assert read(tmp_path) == [("9", "Town 9")]


def test_rejected_rows_of_the_corpus_are_counted(
    settings: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (tmp_path / "psgs_w100.tsv").open("a") as corpus:
        corpus.write('40\t""\tEmpty\n')
    assert cli.main(["narrow", *settings, "--depth", "1"]) == 0
    assert "3 of 39 documents (rejected rows of the corpus: 1;" in capsys.readouterr().out


def test_no_documents_a_question_is_refused(settings: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["narrow", *settings, "--depth", "0"]) == 2
    assert "--depth 0: expected at least 1" in capsys.readouterr().err
