"""Retrieval indexes in a bank: built from a snapshot, visible whole or not at all, checked when opened, never changed.

    BANK/indexes/<snapshot>-<settings>/<attempt>/…      the arrays as bm25s saves them, and documents.arrow
    BANK/indexes/<snapshot>-<settings>/index.json       sealed: which attempt counts, its files and their digests

Other settings, another snapshot or another FORMAT are another index: one that an earlier version built is never searched with
this version's analyzer, but built again under another name. A local index is memory-mapped where it lies; one on an object
store is first copied to a temporary folder that lives as long as the index. The losers of a race leave files for `gc`.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bm25s
import pyarrow as pa

from prag_core.bank import Bank, Snapshot
from prag_core.bank.condemned import check_safe
from prag_core.bank.layout import new_attempt, retrieval_files, retrieval_folder, retrieval_marker
from prag_core.bank.names import ATTEMPT, INDEX_FILE, SHA256, checked
from prag_core.bank.sealed import seal, unseal
from prag_core.config.dump import as_dict
from prag_core.config.schema import RetrievalConfig
from prag_core.errors import BankError, CorruptBankError
from prag_core.identity import digest, file_sha256
from prag_core.retrieval.bm25 import LexicalIndex
from prag_core.storage import (
    TEMPORARY,
    FileSystem,
    PendingObject,
    ScratchFolder,
    create_exclusive,
    is_local,
    read,
    remove,
    storage_errors,
)

FORMAT = 3  # 3: the stop words' scores, and the analyzer of this version
DOCUMENTS = "documents.arrow"
STOP_FILES = {
    f"{part}_name": f"stop.{part}{suffix}"
    for suffix, parts in ((".npy", ("data", "indices", "indptr", "nnoc")), (".json", ("vocab", "params")))
    for part in parts
}  # names that differ from those bm25s gives the other scorer's files


def has_index(bank: Bank, snapshot: Snapshot, settings: RetrievalConfig) -> bool:
    """Whether there is an index of this snapshot with these settings."""
    with storage_errors("reading", bank.uri):
        return bool(bank.fs.exists(retrieval_marker(_folder(bank, snapshot, settings))))


def build_index(bank: Bank, snapshot: Snapshot, settings: RetrievalConfig) -> str:
    """Index a snapshot's documents unless there is such an index. Return its folder. Raises ConfigError, StorageError, and
    BankError if gc clears the new files away, because they lay for longer than the grace period: then there is no index."""
    folder = _folder(bank, snapshot, settings)
    if not has_index(bank, snapshot, settings):
        index = LexicalIndex.build(snapshot.documents(), settings)
        with storage_errors("writing the index to", bank.uri):
            names = save_index(index, bank.fs, folder)
        _keep(bank, folder.removeprefix(f"{bank.root}/"), names)
    return folder


def open_index(bank: Bank, snapshot: Snapshot, settings: RetrievalConfig) -> LexicalIndex:
    """Open the index of a snapshot. Raises BankError if there is none, CorruptBankError if its bytes have changed."""
    try:
        with storage_errors("reading the index of", bank.uri):
            return load_index(bank.fs, _folder(bank, snapshot, settings))
    except FileNotFoundError:
        raise BankError(
            f"{bank.uri}: snapshot {snapshot.name} has no index for these retrieval settings that this version can read; "
            f"run prag index bank.uri={bank.uri}"
        ) from None


def _keep(bank: Bank, folder: str, names: Sequence[str]) -> None:
    """Make sure that gc keeps the files that a marker was just written for, or take the marker back."""
    try:
        check_safe(bank, [f"{folder}/{name}" for name in names], f"the index {folder}")
    except BankError:
        remove(bank.fs, bank.root, [retrieval_marker(folder)])
        raise


def save_index(index: LexicalIndex, fs: FileSystem, folder: str) -> list[str]:
    """Write an index to a folder that has none. Of two that race, one counts, and both are whole. Returns the names of its files
    within the folder, none if the other counts."""
    attempt = new_attempt()
    with ScratchFolder() as temporary:
        index.scorer.save(temporary, show_progress=False)
        index.stop_scorer.save(temporary, show_progress=False, **STOP_FILES)
        with (
            pa.OSFile(f"{temporary}/{DOCUMENTS}", "wb") as file,
            pa.ipc.new_file(file, index.documents.schema) as writer,
        ):
            writer.write_table(index.documents)
        files = [
            _upload(path, fs, f"{retrieval_files(folder, attempt)}/{path.name}")
            for path in sorted(Path(temporary).iterdir())
        ]
    fields = {
        "format": FORMAT,
        "attempt": attempt,
        "settings": _identity(index.settings),
        "documents": len(index),
        "postings": len(index.scorer.scores["data"]),
        "stop_postings": len(index.stop_scorer.scores["data"]),
        "files": files,
    }
    counts = create_exclusive(fs, retrieval_marker(folder), seal(fields))
    return [f"{attempt}/{file['name']}" for file in files] if counts else []


def load_index(fs: FileSystem, folder: str) -> LexicalIndex:
    """Open and check an index. Raises FileNotFoundError if there is none, CorruptBankError naming a damaged file."""
    marker = retrieval_marker(folder)
    fields = unseal(read(fs, marker), marker)
    if fields.get("format") != FORMAT:
        raise BankError(
            f"{folder}: index format {fields.get('format')}, this version reads {FORMAT}; run prag index again"
        )
    source = retrieval_files(folder, checked(fields.get("attempt"), ATTEMPT, marker))
    digests = _digests(fields.get("files"), marker)
    temporary = None if is_local(fs) else ScratchFolder()
    place = Path(temporary.name if temporary else source)
    for name, sha256 in digests.items():
        _fetch_and_check(fs, f"{source}/{name}", place / name, sha256)
    try:
        # An empty file cannot be mapped.
        scorer = bm25s.BM25.load(place, mmap=fields["postings"] > 0, show_progress=False)
        stop_scorer = bm25s.BM25.load(
            place, mmap=fields["stop_postings"] > 0, show_progress=False, **STOP_FILES
        )
        documents = pa.ipc.open_file(pa.memory_map(str(place / DOCUMENTS))).read_all()
        if not folder.endswith(f"-{_digest(fields['settings'])}"):
            raise ValueError("its settings are not those that its folder is named after")
        settings = RetrievalConfig(**fields["settings"])
        return LexicalIndex(scorer, stop_scorer, documents, settings, keep_alive=temporary)
    except (KeyError, TypeError, ValueError, OSError, pa.ArrowException) as error:
        raise CorruptBankError(
            f"{marker} does not describe an index of this version ({error}); remove its folder and run prag index again"
        ) from None


def _digests(files: Any, marker: str) -> dict[str, str]:
    """The names and digests of an index's files. Raises CorruptBankError for a name that no index has: it is used as a path."""
    if not isinstance(files, list) or not all(isinstance(file, dict) for file in files):
        raise CorruptBankError(f"{marker} names no files; remove its folder and run prag index again")
    return {
        checked(file.get("name"), INDEX_FILE, marker): checked(file.get("sha256"), SHA256, marker)
        for file in files
    }


def _folder(bank: Bank, snapshot: Snapshot, settings: RetrievalConfig) -> str:
    """The folder of an index: of its snapshot, and of the settings that change it (`top_k` and `as_narrowed` do not)."""
    return bank.path(retrieval_folder(snapshot.name, _digest(_identity(settings))))


def _digest(identity: dict[str, Any]) -> str:
    return digest([FORMAT, identity])[:16]


def _identity(settings: RetrievalConfig) -> dict[str, Any]:
    return {name: value for name, value in as_dict(settings).items() if name not in ("top_k", "as_narrowed")}


def _upload(path: Path, fs: FileSystem, target: str) -> dict[str, Any]:
    pending = PendingObject(fs, target)
    try:
        with path.open("rb") as file:
            shutil.copyfileobj(file, pending, 1 << 20)
        pending.publish()
    finally:
        pending.discard()
    return {"name": path.name, "bytes": pending.size, "sha256": pending.sha256}


def _fetch_and_check(fs: FileSystem, source: str, path: Path, sha256: str) -> None:
    """Bring a file of an index to `path`, unless it lies there. It has that name only when its digest is right."""
    fetched = path if is_local(fs) else path.with_name(f"{TEMPORARY}{path.name}")
    try:
        if not is_local(fs):
            fs.get_file(source, str(fetched))
        found = file_sha256(fetched)
    except FileNotFoundError:
        raise CorruptBankError(f"{source} is missing; remove its folder and run prag index again") from None
    if found != sha256:
        raise CorruptBankError(
            f"{source} is damaged: its SHA-256 is not the recorded one; remove its folder and run prag index again"
        )
    fetched.replace(path)
