"""Which files a corpus is, and how each of them is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fsspec
import pytest

from prag_core.config.schema import CorpusFormat
from prag_core.corpus.formats import format_of, list_files, read_rows
from prag_core.errors import CorpusError
from prag_core.files.rows import Rejected, Row

LOCAL = fsspec.filesystem("file")


def listed(path: Path, format: CorpusFormat = CorpusFormat.auto, under: Path | None = None) -> list[str]:
    root = under or path
    return [str(Path(file).relative_to(root)) for file in list_files(LOCAL, str(path), format)]


def make(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def fields(path: Path, format: CorpusFormat = CorpusFormat.auto) -> list[dict[str, Any]]:
    rows = list(read_rows(LOCAL, str(path), format))
    assert all(isinstance(row, Row) for row in rows)
    return [row.fields for row in rows if isinstance(row, Row)]


def test_a_folder_is_its_files_of_known_suffixes_at_any_depth_sorted_and_none_that_is_hidden(
    tmp_path: Path,
) -> None:
    make(tmp_path, "b/2.jsonl", "a/1.NDJSON.gz", "c.parquet", "d.tsv.zst")
    make(tmp_path, "README.md", "_SUCCESS", ".hidden.jsonl", "_temporary/x.jsonl", "a/.git/y.tsv", "q.json")
    assert listed(tmp_path) == ["a/1.NDJSON.gz", "b/2.jsonl", "c.parquet", "d.tsv.zst"]
    assert listed(tmp_path, CorpusFormat.parquet) == ["c.parquet"]
    assert listed(tmp_path, CorpusFormat.hotpotqa) == ["q.json"]


def test_a_literal_name_wins_over_a_pattern_and_a_pattern_takes_no_folder(tmp_path: Path) -> None:
    make(tmp_path, "part-2.jsonl", "part-1.jsonl", "other.jsonl", "x[1].jsonl", "part-3/in.jsonl")
    assert listed(tmp_path / "part-*", under=tmp_path) == ["part-1.jsonl", "part-2.jsonl"]
    assert listed(tmp_path / "x[1].jsonl", under=tmp_path) == ["x[1].jsonl"]


@pytest.mark.parametrize(
    ("name", "said"),
    [("none.jsonl", "no such file or folder"), ("*.jsonl", "no file matches"), ("", "no .jsonl/.ndjson/")],
)
def test_a_place_without_files_is_refused_by_its_name(tmp_path: Path, name: str, said: str) -> None:
    make(tmp_path, "notes.txt")
    path = tmp_path / name
    with pytest.raises(CorpusError, match=f"corpus.uri={str(path).replace('*', '.')}.*{said}"):
        list_files(LOCAL, str(path), CorpusFormat.auto)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.jsonl", CorpusFormat.jsonl),
        ("a.ndjson.xz", CorpusFormat.jsonl),
        ("A.TSV.GZ", CorpusFormat.tsv),
        ("a.tsv.parquet", CorpusFormat.parquet),
        ("a.json", None),
        ("jsonl", None),
        ("a.gz", None),
    ],
)
def test_the_suffix_says_the_format_whatever_its_case_and_compression(
    name: str, expected: CorpusFormat | None
) -> None:
    assert format_of(name) is expected


def test_a_file_of_no_known_suffix_is_refused_with_the_formats_there_are(tmp_path: Path) -> None:
    make(tmp_path, "a.txt")
    with pytest.raises(CorpusError, match=r"a\.txt: no known suffix.*corpus\.format.*jsonl.*hotpotqa"):
        fields(tmp_path / "a.txt")


def test_a_table_without_columns_for_id_and_text_is_refused_at_its_header(tmp_path: Path) -> None:
    (tmp_path / "good.tsv").write_text("_id\tcontents\n7\tsome text\n")
    assert fields(tmp_path / "good.tsv") == [{"_id": "7", "contents": "some text"}]
    for header in ("id\ttitle", "number\ttext"):
        (tmp_path / "bad.tsv").write_text(f"{header}\n7\tsome text\n")
        with pytest.raises(CorpusError, match=r"bad\.tsv line 1: expected a header line"):
            fields(tmp_path / "bad.tsv")


@pytest.mark.parametrize(("format", "joined"), [("hotpotqa", "One. Two."), ("2wiki", "One. Two.")])
def test_the_paragraphs_of_a_question_set_are_rows_and_a_record_without_them_is_rejected_alone(
    tmp_path: Path, format: str, joined: str
) -> None:
    sentences = ["One.", " Two."] if format == "hotpotqa" else ["One.", "Two."]
    records = [{"context": [["A", sentences], ["B", [" "]]]}, {"context": "none"}, 5]
    path = tmp_path / "questions.json"
    path.write_text(json.dumps(records))
    good, *rejected = read_rows(LOCAL, str(path), CorpusFormat[format])
    assert isinstance(good, Row) and good.place.endswith("questions.json record 1")
    assert (good.fields["title"], good.fields["text"]) == ("A", joined)
    assert all(isinstance(row, Rejected) for row in rejected)
    assert [row.place.rsplit(" ", 1)[1] for row in rejected] == ["2", "3"]
