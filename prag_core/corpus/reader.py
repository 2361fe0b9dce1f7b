"""A corpus as a stream of checked documents, however many there are.

A row needs an id (`doc_id`, `id` or `_id`) and a text (`text` or `contents`); `title` is optional. A mapping `metadata` is
kept, and every other field is added to it (a key that `metadata` has wins). Documents come in the order of the files; a
repeated document is dropped and counted. What cannot be used is refused with its file, line and id, never skipped.

Memory: about 200 bytes a document, to notice repeated ids; never a text.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prag_core.config.schema import CorpusConfig
from prag_core.corpus.formats import Row, list_files, read_rows
from prag_core.errors import ConfigError, CorpusError
from prag_core.records import Document
from prag_core.storage import open_root, storage_errors

MAX_ID_CHARACTERS = 1024
ID_FIELDS = ("doc_id", "id", "_id")
TEXT_FIELDS = ("text", "contents")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
SURROGATE = re.compile(r"[\ud800-\udfff]")


@dataclass
class CorpusCounts:
    """What reading has met so far."""

    documents: int = 0
    duplicates: int = 0


class CorpusReader(Iterator[Document]):
    """The documents of a corpus as they are read, with what reading has met so far in `counts`."""

    def __init__(self, config: CorpusConfig) -> None:
        self.counts = CorpusCounts()
        self._documents = _read(config, self.counts)

    def __next__(self) -> Document:
        return next(self._documents)


def read_corpus(config: CorpusConfig) -> CorpusReader:
    """Stream the documents of `config.uri`, at most `config.limit` of them. Nothing is opened before the first is asked for.

    Raises CorpusError where the corpus is missing, unreadable or empty, where a row is no document, and where one id
    has two wordings.
    """
    if config.limit is not None and config.limit < 1:
        raise ConfigError(f"corpus.limit={config.limit}: expected at least 1, or null for the whole corpus")
    return CorpusReader(config)


def _read(config: CorpusConfig, counts: CorpusCounts) -> Iterator[Document]:
    wordings: dict[bytes, bytes] = {}
    for where, fields in _rows(config):
        document = to_document(fields, where)
        key, wording = _digest(document.doc_id), _digest(f"{document.title}\0{document.text}")
        known = wordings.setdefault(key, wording)
        if known is not wording:
            if known != wording:
                raise CorpusError(_conflict(config, document.doc_id, where))
            counts.duplicates += 1
            continue
        counts.documents += 1
        yield document
        if counts.documents == config.limit:
            return
    if not counts.documents:
        raise CorpusError(f"corpus.uri={config.uri}: the corpus is empty; it needs at least one document")


def to_document(fields: Mapping[str, Any], where: str) -> Document:
    """A row as a Document. `where` names it in the CorpusErrors raised for what is missing or unusable."""
    rest = dict(fields)
    doc_id = _take_id(rest, where)
    where = f"{where}: document {doc_id!r}"
    name = next((name for name in TEXT_FIELDS if rest.get(name) is not None), "text")
    text = _take_string(rest, name, where)
    if not text.strip():
        raise CorpusError(f"{where} has no text; give it a {name!r} or remove it")
    title = _take_string(rest, "title", where)
    metadata = rest.pop("metadata", None) or {}
    if isinstance(metadata, str):
        metadata = _parse_metadata(metadata, where)
    if not isinstance(metadata, Mapping):
        raise CorpusError(f"{where}: metadata is {_kind(metadata)}, expected a mapping of names to values")
    return Document(doc_id, text, title, metadata=_json_values({**rest, **metadata}, where))


def _rows(config: CorpusConfig) -> Iterator[Row]:
    try:
        with storage_errors("reading", config.uri):
            fs, path = open_root(config.uri)
            files = list_files(fs, path, config.format)
    except CorpusError:
        raise
    except (OSError, ImportError, ValueError) as error:
        reason = str(error).rpartition(f"{config.uri}: ")[2]
        raise CorpusError(f"corpus.uri={config.uri}: cannot be read: {reason}") from None
    for file in files:
        yield from read_rows(fs, file, config.format)


def _take_id(fields: dict[str, Any], where: str) -> str:
    name = next((name for name in ID_FIELDS if fields.get(name) is not None), None)
    if name is None:
        raise CorpusError(f"{where}: a document without an id; give each a 'doc_id' that is its own")
    value = fields.pop(name)
    doc_id = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(doc_id, str):
        raise CorpusError(f"{where}: {name} is {_kind(value)}, expected text or a whole number")
    if not doc_id.strip():
        raise CorpusError(f"{where}: {name} is empty; give each document an id that is its own")
    if len(doc_id) > MAX_ID_CHARACTERS:
        length = f"{len(doc_id):,} characters; at most {MAX_ID_CHARACTERS:,} are allowed"
        raise CorpusError(f"{where}: {name} {doc_id[:40]!r}… has {length}")
    if found := CONTROL.search(doc_id) or SURROGATE.search(doc_id):
        character = f"U+{ord(found.group()):04X}"
        rule = "control characters and lone surrogates are not allowed in ids"
        raise CorpusError(f"{where}: {name} {doc_id!r} holds the character {character}; {rule}")
    return doc_id


def _take_string(fields: dict[str, Any], name: str, where: str) -> str:
    value = fields.pop(name, None)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise CorpusError(f"{where}: {name} is {_kind(value)}, expected text")
    if "\0" in value or (not value.isascii() and SURROGATE.search(value)):
        raise CorpusError(
            f"{where}: {name} holds a NUL character or a lone surrogate (half a character); clean the text"
        )
    return value


def _parse_metadata(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise CorpusError(
            f"{where}: metadata is text that is not JSON; expected a mapping of names to values"
        ) from None


def _json_values(metadata: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Metadata as plain JSON (dates and the like as text), so that every store and language can carry it."""
    if not metadata:
        return {}
    try:
        text = json.dumps(metadata, default=str, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise CorpusError(f"{where}: metadata cannot be written as JSON ({error})") from None
    values: dict[str, Any] = json.loads(text)
    return values


def _conflict(config: CorpusConfig, doc_id: str, where: str) -> str:
    """The message for one id with two wordings; reads the corpus again to say where the first was."""
    first = next(place for place, fields in _rows(config) if to_document(fields, place).doc_id == doc_id)
    other = f"another text or title than the document of the same id at {first}"
    return f"{where}: document {doc_id!r} has {other}; give each its own id"


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _kind(value: Any) -> str:
    return f"{value!r:.40} ({type(value).__name__})"
