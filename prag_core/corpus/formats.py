"""Where a corpus's files are, and how each becomes rows: a place for error messages, and a mapping of fields.

Formats: JSON lines (`.jsonl`, `.ndjson`), Parquet, and TSV with a header (csv quoting, as in `psgs_w100.tsv`), each also
compressed (`.gz`, `.bz2`, `.xz`, `.zst`); and the paragraphs of a question set (`2wiki`, `hotpotqa`: `.json`, read whole),
each as often as it comes with a question. A corpus is one file, a folder (recursive) or a glob, on any fsspec file
system. Files come in sorted order, rows as they lie; nothing is ever held beyond one batch of rows. Whatever cannot
be read is a CorpusError that names the file and, where there is one, the line.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import lzma
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any, cast

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from prag_core.config.schema import CorpusFormat
from prag_core.errors import CorpusError
from prag_core.questions.formats import JOINTS, paragraphs, read_json_list
from prag_core.storage import storage_errors

Row = tuple[str, dict[str, Any]]  # "file line 3", fields
Reader = Callable[[IO[bytes], str], Iterator[Row]]  # a file's bytes and its name → rows

SUFFIXES = {
    ".jsonl": CorpusFormat.jsonl,
    ".ndjson": CorpusFormat.jsonl,
    ".parquet": CorpusFormat.parquet,
    ".tsv": CorpusFormat.tsv,
}
PARAGRAPHS = {CorpusFormat[name]: joint for name, joint in JOINTS.items()}
COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".zst": "zstd"}
BATCH_ROWS = 1024
UNREADABLE = (OSError, EOFError, zlib.error, lzma.LZMAError, pa.ArrowException)


def list_files(fs: fsspec.AbstractFileSystem, path: str, format: CorpusFormat) -> list[str]:
    """The corpus's files, sorted. In a folder only those with a known suffix (of `format`, unless auto) count, and
    names that begin with "." or "_" do not. CorpusError when there are none."""
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
    found = [file for file in fs.find(folder) if not _hidden(file[len(folder) :])]
    files = [file for file in found if _split_compression(file.lower())[0].endswith(suffixes)]
    if not files:
        name, wanted = display(fs, folder), "/".join(suffixes)
        raise CorpusError(
            f"corpus.uri={name}: there is no {wanted} file in this folder (compressed ones count too)"
        )
    return sorted(files)


def read_rows(fs: fsspec.AbstractFileSystem, path: str, format: CorpusFormat) -> Iterator[Row]:
    """One file's rows, each with its place. `format` auto goes by the suffix."""
    name = display(fs, path)
    kind = format_of(path) if format is CorpusFormat.auto else format
    if kind is None:
        known = ", ".join(SUFFIXES)
        formats = ", ".join(format.name for format in CorpusFormat if format is not CorpusFormat.auto)
        raise CorpusError(f"{name}: no known suffix ({known}); set corpus.format to one of {formats}")
    readers: dict[CorpusFormat, Reader] = {
        CorpusFormat.jsonl: read_jsonl,
        CorpusFormat.parquet: _read_parquet,
        CorpusFormat.tsv: _read_documents_tsv,
    }
    yield from read_file(fs, path, readers[kind] if kind in readers else _paragraph_reader(PARAGRAPHS[kind]))


def read_file(fs: fsspec.AbstractFileSystem, path: str, reader: Reader) -> Iterator[Row]:
    """One file's rows as `reader` finds them in its bytes, decompressed as the name says."""
    name = display(fs, path)
    try:
        with storage_errors("reading", name), fs.open(path, "rb") as raw:
            yield from reader(_decompress(raw, path, seekable=reader is _read_parquet), name)
    except CorpusError:
        raise
    except UNREADABLE as error:
        reason = str(error).rpartition(f"{name}: ")[2] or type(error).__name__
        raise CorpusError(f"{name}: cannot be read: {reason}") from None


def format_of(path: str) -> CorpusFormat | None:
    """The format that a file's name says, behind any compression suffix."""
    stem, _ = _split_compression(path.lower())
    return next((kind for suffix, kind in SUFFIXES.items() if stem.endswith(suffix)), None)


def display(fs: fsspec.AbstractFileSystem, path: str) -> str:
    """A path as the user would write it: local ones bare, others with their protocol."""
    protocol = fs.protocol if isinstance(fs.protocol, str) else fs.protocol[0]
    return path if protocol in ("file", "local") else str(fs.unstrip_protocol(path))


def _hidden(relative: str) -> bool:
    return any(part.startswith((".", "_")) for part in relative.split("/"))


def _split_compression(path: str) -> tuple[str, str | None]:
    for suffix, compression in COMPRESSIONS.items():
        if path.endswith(suffix):
            return path.removesuffix(suffix), compression
    return path, None


def _decompress(raw: IO[bytes], path: str, *, seekable: bool) -> IO[bytes]:
    _, compression = _split_compression(path.lower())
    if compression is None:
        return raw
    if compression == "zstd":  # fsspec needs another package for it; Arrow has it built in
        zstd = pa.CompressedInputStream(pa.PythonFile(raw, "r"), "zstd")
        stream = cast(IO[bytes], io.BufferedReader(cast(io.RawIOBase, zstd)))
    else:
        stream = cast(IO[bytes], fsspec.compression.compr[compression](raw, mode="rb"))
    if not seekable:
        return stream
    spool = tempfile.TemporaryFile()  # noqa: SIM115  (Parquet is read from its end)
    shutil.copyfileobj(stream, spool)
    return spool


def _lines(stream: IO[bytes], name: str) -> Iterator[tuple[int, str]]:
    """Numbered text lines, split at newline bytes only (JSON may hold other line separators)."""
    number = 0
    try:
        for number, line in enumerate(stream, 1):
            yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        reason = f"{error.reason} at byte {error.start}"
        raise CorpusError(
            f"{name} line {number}: not UTF-8 text ({reason}); convert the file to UTF-8"
        ) from None
    except UNREADABLE as error:
        reason = f"{error or type(error).__name__}"
        raise CorpusError(
            f"{name} line {number + 1}: cannot be read: {reason}; is the file damaged or incomplete?"
        ) from None


def read_jsonl(stream: IO[bytes], name: str) -> Iterator[Row]:
    for number, line in _lines(stream, name):
        if not line.strip():
            continue
        where = f"{name} line {number}"
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise CorpusError(
                f"{where}: not JSON ({error}): {_excerpt(line)}; each line must be one JSON object"
            ) from None
        if not isinstance(fields, dict):
            raise CorpusError(
                f'{where}: expected a JSON object such as {{"doc_id": …, "text": …}}, found {_excerpt(line)}'
            )
        yield where, fields


def _read_documents_tsv(stream: IO[bytes], name: str) -> Iterator[Row]:
    return read_tsv(stream, name, _check_header)


def read_tsv(stream: IO[bytes], name: str, check: Callable[[list[str], str], list[str]]) -> Iterator[Row]:
    """The rows under a header line that `check(names, place)` lets through."""
    csv.field_size_limit(2**31 - 1)  # the module's own limit of 128 KiB a field would refuse long documents
    reader = csv.reader((line for _, line in _lines(stream, name)), delimiter="\t", strict=True)
    header: list[str] | None = None
    while True:
        where = f"{name} line {reader.line_num + 1}"
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise CorpusError(
                f'{where}: broken quoting ({error}); a field that holds a quote, tab or newline is written "so", quotes doubled'
            ) from None
        if header is None:
            header = check(values, where)
        elif len(values) == len(header):
            yield where, dict(zip(header, values, strict=True))
        elif values:
            raise CorpusError(
                f"{where}: {len(values)} fields, but the header has {len(header)} ({', '.join(header)})"
            )


def _check_header(values: list[str], where: str) -> list[str]:
    if not ({"id", "doc_id", "_id"} & set(values) and {"text", "contents"} & set(values)):
        found = _excerpt(str(values))
        raise CorpusError(
            f"{where}: expected a header line of tab-separated names, id, text and title, found {found}"
        )
    return values


def _paragraph_reader(joint: str) -> Reader:
    def read(stream: IO[bytes], name: str) -> Iterator[Row]:
        for where, fields in read_json_list(stream, name):
            for row in paragraphs(fields, where, joint):
                yield where, dict(row)

    return read


def _read_parquet(stream: IO[bytes], name: str) -> Iterator[Row]:
    numbers = itertools.count(1)
    for batch in pq.ParquetFile(stream).iter_batches(batch_size=BATCH_ROWS):
        for fields in batch.to_pylist():
            yield f"{name} row {next(numbers)}", fields


def _excerpt(text: str) -> str:
    text = text.strip()
    return text if len(text) <= 80 else text[:77] + "…"
