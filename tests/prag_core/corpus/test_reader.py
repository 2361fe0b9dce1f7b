"""A corpus becomes checked documents whatever its format, and bad input is refused with its place."""

import bz2
import gzip
import json
import lzma
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from prag_core.config.schema import CorpusConfig, CorpusFormat
from prag_core.corpus.reader import CorpusCounts, read_corpus
from prag_core.errors import ConfigError, CorpusError
from prag_core.records import Document

Rows = Sequence[Mapping[str, Any]]
DOCUMENTS = [
    Document("a", "first text", "First"),
    Document("b/ü 漢\u2028", 'says "hi",\ttwice\nand on', ""),
    Document("3", "third", "Number", metadata={"lang": "en"}),
]


def jsonl(rows: Rows) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def write_jsonl(path: Path, rows: Rows, compress: Callable[[bytes], bytes] = bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(compress(jsonl(rows)))
    return str(path)


def read(uri: str | Path, **settings: Any) -> list[Document]:
    return list(read_corpus(CorpusConfig(uri=str(uri), **settings)))


def rows(*doc_ids: str) -> Rows:
    return [{"doc_id": doc_id, "text": f"text of {doc_id}"} for doc_id in doc_ids]


def ids(documents: Sequence[Document]) -> list[str]:
    return [document.doc_id for document in documents]


JSON_ROWS: Rows = [
    {"doc_id": "a", "title": "First", "text": "first text"},
    {"_id": "b/ü 漢\u2028", "contents": 'says "hi",\ttwice\nand on', "title": None, "metadata": None},
    {"id": 3, "text": "third", "title": "Number", "metadata": {"lang": "en"}},
]


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize(
    ("suffix", "compress"),
    [("", bytes), (".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress), (".zst", zstd)],
)
def test_every_format_gives_the_same_documents_plain_and_compressed(
    tmp_path: Path, suffix: str, compress: Callable[[bytes], bytes]
) -> None:
    (tmp_path / f"c.jsonl{suffix}").write_bytes(compress(jsonl(JSON_ROWS)))
    assert read(tmp_path / f"c.jsonl{suffix}") == DOCUMENTS

    sink = pa.BufferOutputStream()
    columns = [
        {"doc_id": d.doc_id, "title": d.title, "text": d.text, "metadata": json.dumps(d.metadata)}
        for d in DOCUMENTS
    ]
    pq.write_table(pa.Table.from_pylist(columns), sink)
    (tmp_path / f"c.parquet{suffix}").write_bytes(compress(sink.getvalue().to_pybytes()))
    assert read(tmp_path / f"c.parquet{suffix}") == DOCUMENTS

    tsv = (
        "id\ttext\ttitle\tlang\n"
        + 'a\tfirst text\tFirst\t\n"b/ü 漢\u2028"\t"says ""hi"",\ttwice\nand on"\t\t\n3\tthird\tNumber\ten\n'
    )
    (tmp_path / f"c.tsv{suffix}").write_bytes(compress(tsv.encode()))
    assert [(d.doc_id, d.text, d.title) for d in read(tmp_path / f"c.tsv{suffix}")] == [
        (d.doc_id, d.text, d.title) for d in DOCUMENTS
    ]
    assert read(tmp_path / f"c.tsv{suffix}")[2].metadata == {"lang": "en"}


def test_a_byte_order_mark_and_blank_lines_are_no_content(tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_bytes(b"\xef\xbb\xbf" + jsonl(rows("a")) + b"\n  \n" + jsonl(rows("b")))
    assert ids(read(tmp_path / "c.jsonl")) == ["a", "b"]


def test_a_folder_is_read_recursively_in_sorted_order_by_known_suffixes(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "b" / "2.jsonl", rows("2"))
    write_jsonl(tmp_path / "a" / "1.jsonl.gz", rows("1"), gzip.compress)
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows("3")]), tmp_path / "c.parquet")
    for ignored in ("README.md", "_SUCCESS", ".hidden.jsonl", "_temporary/x.jsonl", "a/notes.txt"):
        write_jsonl(tmp_path / ignored, rows("never"))
    assert ids(read(tmp_path)) == ["1", "2", "3"]
    assert ids(read(f"file://{tmp_path}")) == ["1", "2", "3"]
    assert ids(read(tmp_path, format=CorpusFormat.parquet)) == ["3"]


def test_any_fsspec_uri_is_a_corpus() -> None:
    import fsspec

    fsspec.filesystem("memory").pipe_file("/corpus-test/a.jsonl", jsonl(rows("m")))
    assert ids(read("memory://corpus-test")) == ["m"]
    with pytest.raises(CorpusError, match=r"memory:/+corpus-test/none"):
        read("memory://corpus-test/none.jsonl")


def test_an_object_store_is_read_like_a_folder(swift_uri: str, tmp_path: Path) -> None:
    import fsspec

    for name, compress in (("corpus/1.jsonl", bytes), ("corpus/2/3.jsonl.gz", gzip.compress)):
        with fsspec.open(f"{swift_uri}/{name}", "wb") as file:
            file.write(compress(jsonl(rows(name))))
    with fsspec.open(f"{swift_uri}/corpus/4.parquet", "wb") as file:
        pq.write_table(pa.Table.from_pylist([dict(row) for row in rows("p")]), file)
    assert ids(read(f"{swift_uri}/corpus")) == ["corpus/1.jsonl", "corpus/2/3.jsonl.gz", "p"]
    assert ids(read(f"{swift_uri}/corpus/*.jsonl")) == ["corpus/1.jsonl"]
    assert ids(read(f"{swift_uri}/corpus/4.parquet")) == ["p"]
    for uri in (f"{swift_uri}/none", f"{swift_uri}/none/*.jsonl", "s3://no-such-bucket/corpus.jsonl"):
        with pytest.raises(CorpusError, match=r"corpus\.uri=s3://"):
            read(uri)


def test_an_object_store_that_refuses_says_so(swift_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import s3fs

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(CorpusError, match=r"corpus\.uri=s3://.*AWS_SECRET_ACCESS_KEY"):
        read(f"{swift_uri}/corpus.jsonl")


def test_an_explicit_format_reads_a_file_of_any_name(tmp_path: Path) -> None:
    uri = write_jsonl(tmp_path / "corpus.txt", rows("a"))
    assert ids(read(uri, format=CorpusFormat.jsonl)) == ["a"]
    with pytest.raises(CorpusError, match=r"corpus\.txt.*corpus\.format"):
        read(uri)


def test_other_fields_become_metadata_as_json_values(tmp_path: Path) -> None:
    from datetime import date

    row = {
        "doc_id": "a",
        "text": "t",
        "date": date(2020, 1, 2),
        "tags": ["x", "y"],
        "metadata": {"lang": "en"},
    }
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "c.parquet")
    assert read(tmp_path / "c.parquet")[0].metadata == {
        "date": "2020-01-02",
        "tags": ["x", "y"],
        "lang": "en",
    }


def test_limit_counts_documents_and_stops_reading_there(tmp_path: Path) -> None:
    uri = write_jsonl(tmp_path / "c.jsonl", [*rows("a", "a", "b"), {"broken": True}])
    assert ids(read(uri, limit=2)) == ["a", "b"]
    with pytest.raises(ConfigError, match=r"corpus\.limit=0"):
        read(uri, limit=0)


def test_equal_duplicates_are_dropped_and_counted_even_if_their_metadata_differs(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "1.jsonl", rows("a", "b"))
    write_jsonl(tmp_path / "2.jsonl", [{**rows("a")[0], "lang": "en"}, *rows("c")])
    documents = read_corpus(CorpusConfig(uri=str(tmp_path)))
    assert ids(list(documents)) == ["a", "b", "c"]
    assert documents.counts == CorpusCounts(documents=3, duplicates=1)


def test_one_id_with_two_wordings_is_refused_naming_both_places(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "1.jsonl", rows("x", "a"))
    write_jsonl(tmp_path / "2.jsonl", [{"doc_id": "a", "text": "something else"}])
    with pytest.raises(CorpusError, match=r"2\.jsonl line 1: document 'a' .*1\.jsonl line 2"):
        read(tmp_path, max_rejected=0)


def test_one_id_with_two_titles_is_refused_too(tmp_path: Path) -> None:
    uri = write_jsonl(
        tmp_path / "1.jsonl",
        [{"id": "a", "text": "t", "title": "one"}, {"id": "a", "text": "t", "title": "two"}],
    )
    with pytest.raises(CorpusError, match="document 'a'"):
        read(uri, max_rejected=0)


GOOD = {"doc_id": "ok", "text": "fine"}
BAD_ROWS = {
    "without text": ({"doc_id": "bad"}, "'bad' has no text"),
    "null text": ({"doc_id": "bad", "text": None}, "'bad' has no text"),
    "blank text": ({"doc_id": "bad", "text": " \n\t"}, "'bad' has no text"),
    "text that is a number": ({"doc_id": "bad", "text": 7}, r"'bad'.*text is 7 \(int\)"),
    "NUL in text": ({"doc_id": "bad", "text": "a\0b"}, "'bad'.*NUL"),
    "lone surrogate in text": ({"doc_id": "bad", "text": "a\ud800b"}, "'bad'.*surrogate"),
    "lone surrogate in title": ({"doc_id": "bad", "text": "t", "title": "\udc00"}, "'bad'.*title.*surrogate"),
    "title that is a list": ({"doc_id": "bad", "text": "t", "title": ["x"]}, "'bad'.*title is"),
    "without id": ({"text": "bad"}, "without an id"),
    "empty id": ({"doc_id": "", "text": "bad"}, "doc_id is empty"),
    "blank id": ({"doc_id": "  ", "text": "bad"}, "doc_id is empty"),
    "id that is a fraction": ({"doc_id": 1.5, "text": "bad"}, r"1\.5 \(float\)"),
    "id that is a truth value": ({"doc_id": True, "text": "bad"}, r"True \(bool\)"),
    "NUL in id": ({"doc_id": "a\0b", "text": "bad"}, r"'a\\x00b'.*U\+0000"),
    "newline in id": ({"doc_id": "a\nb", "text": "bad"}, r"U\+000A"),
    "lone surrogate in id": ({"doc_id": "a\udfffb", "text": "bad"}, r"U\+DFFF"),
    "an id of 10,000 characters": (
        {"doc_id": "x" * 10_000, "text": "bad"},
        "10,000 characters; at most 1,024",
    ),
    "metadata that is a list": ({"doc_id": "bad", "text": "t", "metadata": [1]}, "'bad'.*metadata"),
    "metadata that is text": ({"doc_id": "bad", "text": "t", "metadata": "x"}, "'bad'.*metadata"),
    "a lone surrogate in metadata": (
        {"doc_id": "bad", "text": "t", "metadata": {"k": "\ud800"}},
        "'bad'.*metadata",
    ),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_a_row_that_is_no_document_is_refused_with_its_line(tmp_path: Path, name: str) -> None:
    row, message = BAD_ROWS[name]
    (tmp_path / "c.jsonl").write_text(
        json.dumps(GOOD) + "\n" + json.dumps(row) + "\n"
    )  # ASCII: surrogates stay escapes
    with pytest.raises(CorpusError, match=rf"c\.jsonl line 2.*{message}"):
        read(tmp_path / "c.jsonl", max_rejected=0)


def test_an_id_of_the_longest_allowed_length_is_taken(tmp_path: Path) -> None:
    assert ids(read(write_jsonl(tmp_path / "c.jsonl", rows("x" * 1024)))) == ["x" * 1024]


@pytest.mark.parametrize(
    "line", ["{not json}", '{"doc_id": "a", "text": "cut', "[" * 100_000, '["a", "b"]', '"text"', "7"]
)
def test_a_line_that_is_not_a_json_object_is_refused_with_its_number(tmp_path: Path, line: str) -> None:
    (tmp_path / "c.jsonl").write_text(json.dumps(GOOD) + "\n\n" + line + "\n")
    with pytest.raises(CorpusError, match=r"c\.jsonl line 3.*JSON"):
        read(tmp_path / "c.jsonl", max_rejected=0)


def test_bytes_that_are_not_utf8_are_refused_with_their_line(tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_bytes(jsonl(rows("a")) + b'{"doc_id": "b", "text": "caf\xe9"}\n')
    with pytest.raises(CorpusError, match=r"c\.jsonl line 2: not UTF-8"):
        read(tmp_path / "c.jsonl", max_rejected=0)


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, zstd])
@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_a_truncated_compressed_file_is_refused(
    tmp_path: Path, compress: Callable[[bytes], bytes], format: str
) -> None:
    suffix = {gzip.compress: "gz", bz2.compress: "bz2", lzma.compress: "xz", zstd: "zst"}[compress]
    data = compress(jsonl(rows(*(f"{i * 2654435761 % 2**32}" for i in range(3000)))))
    path = tmp_path / f"c.{format}.{suffix}"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(CorpusError, match=rf"c\.{format}\.{suffix}.*cannot be read"):
        read(path)


@pytest.mark.parametrize("name", ["c.parquet", "c.jsonl.gz", "c.parquet.gz", "c.jsonl.zst"])
def test_a_file_that_is_not_what_its_name_says_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(jsonl(rows("a")))
    with pytest.raises(CorpusError, match=name.replace(".", r"\.")):
        read(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\ttext\n", "line 1: expected a header"),
        ("id\ttext\ttitle\na\tt\tT\nb\tt\n", "line 3: 2 fields, but the header has 3"),
        ('id\ttext\ttitle\na\t"two\nlines"\tT\nb\tt\n', "line 4: 2 fields"),
        ('id\ttext\ttitle\na\tt\tT\nb\t"never closed\tT\nc\tt\tT\n', "line 3: broken quoting"),
        ('id\ttext\ttitle\na\t"Weird" Al\tT\n', "line 2: broken quoting"),
    ],
)
def test_a_broken_tsv_is_refused_with_its_line(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "c.tsv").write_text(content)
    with pytest.raises(CorpusError, match=rf"c\.tsv {message}"):
        read(tmp_path / "c.tsv", max_rejected=0)


def test_a_tsv_field_may_be_longer_than_the_csv_modules_own_limit(tmp_path: Path) -> None:
    (tmp_path / "c.tsv").write_text("id\ttext\ttitle\na\t" + "word " * 100_000 + "\tT\n")
    assert len(read(tmp_path / "c.tsv")[0].text) == 500_000


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_an_empty_corpus_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "c.jsonl").write_text(content)
    with pytest.raises(CorpusError, match="empty"):
        read(tmp_path / "c.jsonl")


def test_a_corpus_that_is_not_there_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for uri in ("none.jsonl", "none-*.jsonl", "folder", "none/c.jsonl"):
        with pytest.raises(CorpusError, match=r"corpus\.uri="):
            read(tmp_path / uri)
    for uri in ("nosuchprotocol://x/c.jsonl", "https://"):
        with pytest.raises(CorpusError, match=r"corpus\.uri="):
            read(uri)


def test_nothing_is_read_ahead_of_what_is_asked_for(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "1.jsonl", rows("a", "b"))
    (tmp_path / "2.jsonl").write_text("broken")
    documents = read_corpus(CorpusConfig(uri=str(tmp_path)))
    assert [next(documents).doc_id, next(documents).doc_id] == ["a", "b"]
    with pytest.raises(CorpusError, match=r"2\.jsonl line 1"):
        next(documents)


def test_a_row_that_cannot_be_used_is_rejected_with_its_reason_and_the_rest_go_on(tmp_path: Path) -> None:
    uri = write_jsonl(tmp_path / "c.jsonl", [*rows("a"), {"_id": "b", "title": "T", "text": ""}, *rows("c")])
    corpus = read_corpus(CorpusConfig(uri=uri))
    assert ids(list(corpus)) == ["a", "c"]
    assert (corpus.counts.documents, corpus.counts.rejected) == (2, 1)
    (reason,) = corpus.counts.reasons
    assert str(reason) == f"{uri} line 2: document 'b' has no text; give it a 'text' or remove it"


def test_every_kind_of_unusable_row_is_rejected_and_only_it(tmp_path: Path) -> None:
    bad = [row for row, _ in BAD_ROWS.values()]
    lines = [line for row in bad for line in (json.dumps(row), json.dumps({**GOOD, "doc_id": f"g{id(row)}"}))]
    (tmp_path / "c.jsonl").write_text("\n".join(lines))
    corpus = read_corpus(CorpusConfig(uri=str(tmp_path / "c.jsonl"), max_rejected=0.5))
    assert len(list(corpus)) == corpus.counts.rejected == len(bad)


def test_more_than_the_allowed_share_stops_and_names_the_first_reasons(tmp_path: Path) -> None:
    bad: Rows = [{"doc_id": f"bad{n}"} for n in range(3)]
    uri = write_jsonl(tmp_path / "c.jsonl", [*bad, *rows(*(f"d{n}" for n in range(97)))])
    assert len(read(uri, max_rejected=0.03)) == 97
    with pytest.raises(
        CorpusError, match=r"3 of 100 rows cannot be used.*corpus\.max_rejected.*line 1: .*'bad0'.*'bad2'"
    ):
        read(uri)


def test_a_corpus_without_one_usable_row_is_refused_whatever_share_is_allowed(tmp_path: Path) -> None:
    uri = write_jsonl(tmp_path / "c.jsonl", [{"doc_id": "a"}])
    with pytest.raises(CorpusError, match=r"1 of 1 rows cannot be used.*line 1: document 'a' has no text"):
        read(uri, max_rejected=1)


def test_numbers_that_json_does_not_have_are_null_in_metadata(tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_text(
        '{"id": 1, "text": "t", "score": NaN, "metadata": {"deep": [1.5, -Infinity, {"x": NaN}]}}\n'
    )
    (document,) = read(tmp_path / "c.jsonl")
    assert document.metadata == {"score": None, "deep": [1.5, None, {"x": None}]}


def test_empty_cells_of_a_data_frame_are_missing_fields(tmp_path: Path) -> None:
    columns = {
        "id": ["a", "b"],
        "text": ["t", "u"],
        "title": pa.array([None, "B"]),
        "metadata": pa.array([float("nan")] * 2),
    }
    pq.write_table(pa.table(columns), tmp_path / "c.parquet")
    (tmp_path / "d.jsonl").write_text('{"id": "c", "text": "v", "title": NaN}\n')
    assert read(tmp_path) == [Document("a", "t"), Document("b", "u", "B"), Document("c", "v")]


def test_contents_is_read_where_text_is_empty(tmp_path: Path) -> None:
    uri = write_jsonl(tmp_path / "c.jsonl", [{"id": "a", "text": " ", "contents": "words"}])
    assert read(uri) == [Document("a", "words")]


def test_a_parquet_row_that_is_not_utf8_is_named_with_file_and_row(tmp_path: Path) -> None:
    text = pa.Array.from_buffers(pa.string(), 2, pa.array([b"fine", b"caf\xe9"], pa.binary()).buffers())
    pq.write_table(pa.table({"id": ["a", "b"], "text": text}), tmp_path / "c.parquet")
    assert ids(read(tmp_path)) == ["a"]
    with pytest.raises(CorpusError, match=r"c\.parquet row 2: text is not UTF-8 text[^\n]*\Z"):
        read(tmp_path, max_rejected=0)


def test_unusable_rows_may_all_stand_at_the_beginning(tmp_path: Path) -> None:
    """The share is judged when the corpus has been read: files sorted by length begin with their empty rows."""
    bad: Rows = [{"doc_id": f"e{n}", "text": ""} for n in range(40)]
    uri = write_jsonl(tmp_path / "c.jsonl", [*bad, *rows(*(f"d{n}" for n in range(60)))])
    assert len(read(uri, max_rejected=0.4)) == 60
