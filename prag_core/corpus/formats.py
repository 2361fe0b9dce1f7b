"""The files of a corpus, and the reader of each format.

Formats: JSON lines (`.jsonl`, `.ndjson`), Parquet, and TSV with a header (csv quoting, as in `psgs_w100.tsv`), each also
compressed (`.gz`, `.bz2`, `.xz`, `.zst`); and the paragraphs of a question set (`2wiki`, `hotpotqa`: `.json`, read whole),
each as often as it comes with a question. A corpus is one file, a folder (recursive) or a glob, on any fsspec file
system. Files come in sorted order, rows in the order of their file.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

import fsspec

from prag_core.config.schema import CorpusFormat
from prag_core.errors import CorpusError
from prag_core.files.opening import Reader, display, read_file, split_compression
from prag_core.files.rows import (
    Rejected,
    Row,
    Rows,
    excerpt,
    read_json_list,
    read_jsonl,
    read_parquet,
    read_tsv,
)
from prag_core.questions.formats import JOINTS, paragraphs

SUFFIXES = {
    ".jsonl": CorpusFormat.jsonl,
    ".ndjson": CorpusFormat.jsonl,
    ".parquet": CorpusFormat.parquet,
    ".tsv": CorpusFormat.tsv,
}
PARAGRAPHS = {CorpusFormat[name]: joint for name, joint in JOINTS.items()}
ID_FIELDS = ("doc_id", "id", "_id")
TEXT_FIELDS = ("text", "contents")


def list_files(fs: fsspec.AbstractFileSystem, path: str, format: CorpusFormat) -> list[str]:
    """List the corpus's files, sorted. Of a folder, those with a known suffix (of `format`, unless auto) whose name begins with
    neither "." nor "_". Raises CorpusError if there are none."""
    name = display(fs, path)
    try:
        kind = fs.info(path)["type"]
    except FileNotFoundError:
        kind = None  # perhaps a pattern
    if kind == "file":
        return [path]
    if kind == "directory":
        return _files_under(fs, path, format)
    if any(character in path for character in "*?["):
        files = [file for file, info in fs.glob(path, detail=True).items() if info["type"] == "file"]
        if not files:
            raise CorpusError(f"corpus.uri={name}: no file matches this pattern")
        return sorted(files)
    raise CorpusError(f"corpus.uri={name}: no such file or folder")


def _files_under(fs: fsspec.AbstractFileSystem, folder: str, format: CorpusFormat) -> list[str]:
    suffixes = tuple(suffix for suffix, kind in SUFFIXES.items() if format in (CorpusFormat.auto, kind)) or (
        ".json",
    )
    visible = (file for file in fs.find(folder) if not _hidden(file[len(folder) :]))
    files = [file for file in visible if split_compression(file.lower())[0].endswith(suffixes)]
    if not files:
        name, wanted = display(fs, folder), "/".join(suffixes)
        raise CorpusError(
            f"corpus.uri={name}: there is no {wanted} file in this folder (compressed ones count too)"
        )
    return sorted(files)


def read_rows(fs: fsspec.AbstractFileSystem, path: str, format: CorpusFormat) -> Rows:
    """Read the rows of one file. With `format` auto its suffix says how it is read."""
    name = display(fs, path)
    kind = format_of(path) if format is CorpusFormat.auto else format
    if kind is None:
        known = ", ".join(SUFFIXES)
        formats = ", ".join(format.name for format in CorpusFormat if format is not CorpusFormat.auto)
        raise CorpusError(f"{name}: no known suffix ({known}); set corpus.format to one of {formats}")
    readers: dict[CorpusFormat, Reader[Row | Rejected]] = {
        CorpusFormat.jsonl: read_jsonl,
        CorpusFormat.parquet: read_parquet,
        CorpusFormat.tsv: _read_documents_tsv,
    }
    reader = readers[kind] if kind in readers else _paragraph_reader(PARAGRAPHS[kind])
    yield from read_file(fs, path, reader, seekable=kind is CorpusFormat.parquet)


def format_of(path: str) -> CorpusFormat | None:
    """The format that a file's suffix says, ignoring a compression suffix."""
    stem, _ = split_compression(path.lower())
    return next((kind for suffix, kind in SUFFIXES.items() if stem.endswith(suffix)), None)


def _hidden(relative: str) -> bool:
    return any(part.startswith((".", "_")) for part in relative.split("/"))


def _read_documents_tsv(stream: IO[bytes], name: str) -> Rows:
    return read_tsv(stream, name, _check_header)


def _check_header(columns: list[str], place: str) -> list[str]:
    if set(ID_FIELDS).isdisjoint(columns) or set(TEXT_FIELDS).isdisjoint(columns):
        raise CorpusError(
            f"{place}: expected a header line of tab-separated names, id, text and title, not {excerpt(columns)}"
        )
    return columns


def _paragraph_reader(joint: str) -> Reader[Row | Rejected]:
    def read(stream: IO[bytes], name: str) -> Rows:
        for record in read_json_list(stream, name):
            yield from [record] if isinstance(record, Rejected) else _paragraph_rows(record, joint)

    return read


def _paragraph_rows(record: Row, joint: str) -> Iterator[Row | Rejected]:
    try:
        rows = paragraphs(record.fields, record.place, joint)
    except CorpusError as error:
        yield Rejected(record.place, str(error).removeprefix(record.place).lstrip(": "))
        return
    for fields in rows:
        yield Row(record.place, dict(fields))
