"""Deletions as a set of events that only grows, so that any number of actors can add to it without seeing each other.

An event is an object of its own, written once: `delete` names documents; `restore` names documents and the delete events that it
lifts; `erase` says that gc has begun to rewrite the documents' bytes. A document is deleted while a delete event that names
it is not lifted (an observed-remove set: Shapiro et al., 2011). A manifest knows the state at its time and which events made it;
whoever opens a snapshot or publishes one adds the events that came later.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, Self

from prag_core.bank.layout import EVENT, event_path, new_attempt
from prag_core.bank.sealed import seal, unseal
from prag_core.bank.store import BankStore
from prag_core.errors import CorruptBankError
from prag_core.storage import list_files, modified, put_whole, read_many, storage_errors

Kind = Literal["delete", "restore", "erase"]


@dataclass(frozen=True)
class Deletion:
    """A deleted document: when it was first deleted, by which events, and whether its bytes have begun to be erased."""

    at: str
    events: tuple[str, ...]
    erased: bool = False


@dataclass(frozen=True)
class Deletions:
    """The deleted documents of a bank, and the names of the events that say so."""

    documents: Mapping[str, Deletion] = field(default_factory=dict)
    events: frozenset[str] = frozenset()

    @classmethod
    def of_manifest(cls, manifest: Mapping[str, Any]) -> Self:
        """The deletions that a snapshot's manifest knows. Those of an old manifest get events of their own names. Raises
        ValueError, or what a missing field or an odd type raises."""
        documents = {
            doc_id: Deletion(
                at := _checked_time(stone["at"]),
                tuple(_checked_texts(stone.get("events") or [_legacy_event(doc_id, at)])),
                bool(stone.get("erased", False)),
            )
            for doc_id, stone in manifest["deleted"].items()
        }
        return cls(documents, frozenset(_checked_texts(manifest.get("events", []))))

    def to_manifest(self) -> dict[str, Any]:
        """Encode as fields of a manifest."""
        stones = {
            doc_id: {"at": deletion.at, "events": list(deletion.events), "erased": deletion.erased}
            for doc_id, deletion in sorted(self.documents.items())
        }
        return {"deleted": stones, "events": sorted(self.events)}

    def after(self, events: Mapping[str, dict[str, Any]]) -> Deletions:
        """Add events, in any order."""
        lifts = {
            (doc_id, name)
            for fields in events.values()
            if fields["event"] == "restore"
            for doc_id in fields["doc_ids"]
            for name in fields["lifts"]
        }
        found: dict[str, dict[str, str]] = {
            doc_id: dict.fromkeys(deletion.events, deletion.at) for doc_id, deletion in self.documents.items()
        }
        for name, fields in events.items():
            if fields["event"] == "delete":
                for doc_id in fields["doc_ids"]:
                    found.setdefault(doc_id, {})[name] = fields["at"]
        if lifts:
            found = {
                doc_id: {name: at for name, at in of.items() if (doc_id, name) not in lifts}
                for doc_id, of in found.items()
            }
        erased = {doc_id for doc_id, deletion in self.documents.items() if deletion.erased}
        erased |= {d for fields in events.values() if fields["event"] == "erase" for d in fields["doc_ids"]}
        documents = {
            doc_id: Deletion(min(of.values()), tuple(sorted(of)), doc_id in erased)
            for doc_id, of in found.items()
            if of
        }
        return Deletions(documents, self.events | events.keys())


def _legacy_event(doc_id: str, at: str) -> str:
    """Name of the deletion that an old manifest has of a document, for a restore to lift."""
    return hashlib.sha256(f"{at}\0{doc_id}".encode("utf-8", "surrogatepass")).hexdigest()[:16]


def write_event(store: BankStore, kind: Kind, doc_ids: Collection[str], lifts: Collection[str] = ()) -> str:
    """Write an event. It is in force when this returns. Returns its name."""
    name = new_attempt()
    _write(store, name, kind, doc_ids, lifts)
    return name


def write_again(store: BankStore, name: str, doc_ids: Collection[str]) -> None:
    """Write a delete event again whose file was damaged, with the documents that are still deleted by it."""
    _write(store, name, "delete", doc_ids, ())


def _write(store: BankStore, name: str, kind: Kind, doc_ids: Collection[str], lifts: Collection[str]) -> None:
    fields = {"event": kind, "doc_ids": sorted(doc_ids), "lifts": sorted(lifts), "at": now()}
    with storage_errors("writing", store.uri):
        put_whole(store.fs, store.path(event_path(name)), seal(fields))


def list_events(store: BankStore) -> dict[str, datetime]:
    """List the events that were written, with the store's time of each."""
    with storage_errors("reading", store.uri):
        files = list_files(store.fs, store.path("deletions"))
    matches = {EVENT.fullmatch(f"deletions/{name}"): info for name, info in files.items()}
    return {match[1]: modified(info) for match, info in matches.items() if match}


def catch_up(store: BankStore, known: Deletions) -> Deletions:
    """Add to the known deletions those that were written since. One listing, and a read for each event that is new. Raises
    CorruptBankError naming an event that is damaged: what it deletes is not known."""
    new = sorted(list_events(store).keys() - known.events)
    return known.after(read_events(store, new)) if new else known


def read_events(store: BankStore, names: Collection[str]) -> dict[str, dict[str, Any]]:
    """Read events by name. Raises CorruptBankError."""
    paths = [store.path(event_path(name)) for name in names]
    try:
        with storage_errors("reading", store.uri):
            contents = read_many(store.fs, paths)
    except FileNotFoundError as error:
        raise CorruptBankError(f"{error.filename}, a deletion, is missing; run prag bank verify") from None
    return {
        name: _checked(unseal(data, path), path)
        for name, data, path in zip(names, contents, paths, strict=True)
    }


def _checked(fields: dict[str, Any], path: str) -> dict[str, Any]:
    try:
        _checked_time(fields["at"])
        for name in ("doc_ids", "lifts"):
            _checked_texts(fields[name])
        if fields["event"] not in ("delete", "restore", "erase"):
            raise ValueError(f"event {fields['event']!r:.40}")
    except (TypeError, ValueError) as error:
        raise CorruptBankError(
            f"{path} is no deletion that this version can read: {error}; restore it from a copy"
        ) from None
    return fields


def _checked_time(value: Any) -> str:
    """Return a time that can be compared with others."""
    if datetime.fromisoformat(value).tzinfo is None:
        raise ValueError(f"{value} names no time zone")
    return str(value)


def _checked_texts(values: Any) -> list[str]:
    """Return a list of texts."""
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TypeError(f"{values!r:.40} is no list of texts")
    return values


def now() -> str:
    """The current time in UTC, ISO 8601 with milliseconds: for people to read, never compared with another clock's."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
