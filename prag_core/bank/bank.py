"""A bank: the adapters of a corpus under one recipe, with what they were made from, on a folder or an object store.

`Bank` opens and creates banks and is the door to the rest of this package. It holds no connection of its own and pickles
as its URI and bank.json, so that workers need not read it again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from prag_core.bank import commits, snapshot, tables
from prag_core.bank.commits import Commit
from prag_core.bank.initial_adapter import adds_nothing, pack, unpack
from prag_core.bank.layout import (
    BANK_FILE,
    FORMAT,
    ObjectInfo,
    Stage,
    check_digest,
    new_attempt,
    object_path,
    seal,
    unseal,
)
from prag_core.bank.reader import read_adapter_rows
from prag_core.bank.snapshot import Snapshot
from prag_core.bank.writer import ShardWriter, write_table
from prag_core.config.choices import Tier
from prag_core.errors import BankError, CorruptBankError, StorageError
from prag_core.identity import Recipe
from prag_core.models.lora import AdapterLayout, check_factors
from prag_core.records import Adapter, AdapterFactors, Augmentation, Document, Failure
from prag_core.storage import (
    FileSystem,
    create_exclusive,
    is_local,
    list_files,
    open_root,
    put_whole,
    read,
    read_many,
    storage_errors,
)


class Bank:
    """One bank. `fields` is the content of its bank.json."""

    def __init__(self, uri: str, fields: dict[str, Any]) -> None:
        self.uri, self.fields = uri, fields
        self.recipe = Recipe(fields["recipe"])
        self.layout = AdapterLayout.from_json(fields["layout"])
        self._fs: tuple[int, FileSystem, str] | None = None

    def __reduce__(self) -> tuple[type[Bank], tuple[str, dict[str, Any]]]:
        return Bank, (self.uri, self.fields)

    @property
    def fs(self) -> FileSystem:
        return self._opened()[1]

    @property
    def root(self) -> str:
        return self._opened()[2]

    def _opened(self) -> tuple[int, FileSystem, str]:
        """The file system of this process: one that was opened before a fork must not be used after it."""
        if self._fs is None or self._fs[0] != os.getpid():
            self._fs = (os.getpid(), *open_root(self.uri))
        return self._fs

    def path(self, relative: str) -> str:
        """An object's path in the file system."""
        return f"{self.root}/{relative}"

    @classmethod
    def open(cls, uri: str) -> Bank:
        """Open a bank. Raises BankError if there is none or its format is unknown, StorageError if it cannot be reached."""
        bank = cls.find(uri)
        if bank is None:
            raise BankError(f"{uri}: there is no bank here (no {BANK_FILE}); prag parameterize makes one")
        return bank

    @classmethod
    def create(cls, uri: str, recipe: Recipe, layout: AdapterLayout, initial: AdapterFactors) -> Bank:
        """Open the bank of this recipe, or make it. Raises BankError, naming the settings that differ, if another recipe's
        is there, and StorageError if one cannot be written."""
        bank = cls.find(uri) or cls._make(uri, recipe, layout, initial)
        if bank.recipe.id != recipe.id:
            raise BankError(_describe_difference(uri, bank.recipe.fields, recipe.fields))
        if bank.layout != layout:
            raise BankError(
                f"{uri} holds adapters of another shape than this model's; another model is another bank"
            )
        if is_local(bank.fs) and not os.access(bank.root, os.W_OK):
            raise StorageError(
                f"{uri}: this folder cannot be written; change its permissions or choose another bank.uri"
            )
        return bank

    @classmethod
    def find(cls, uri: str) -> Bank | None:
        """The bank, or None where there is none. Raises BankError for one of another format."""
        fs, root = open_root(uri)
        path = f"{root}/{BANK_FILE}"
        try:
            with storage_errors("opening the bank", uri):
                data = read(fs, path)
        except FileNotFoundError:
            return None
        fields = unseal(data, path)
        if fields.get("format") != FORMAT:
            found = fields.get("format")
            raise BankError(
                f"{path} has format {found}, this version reads {FORMAT}; use the version that wrote it"
            )
        return cls(uri, fields)

    @classmethod
    def _make(cls, uri: str, recipe: Recipe, layout: AdapterLayout, initial: AdapterFactors) -> Bank:
        check_factors(initial, layout)
        data = pack(initial)
        sha256 = hashlib.sha256(data).hexdigest()
        path = f"init/{sha256[:16]}.safetensors"
        info = {"path": path, "bytes": len(data), "sha256": sha256}
        fields = {
            "format": FORMAT,
            "recipe": recipe.fields,
            "recipe_id": recipe.id,
            "layout": layout.to_json(),
            "initial": info,
        }
        bank = cls(uri, fields)
        with storage_errors("creating the bank", uri):
            put_whole(bank.fs, bank.path(path), data)
            create_exclusive(bank.fs, bank.path(BANK_FILE), seal(fields))
        return cls.open(uri)

    def initial_factors(self) -> AdapterFactors:
        """The adapter every document starts from."""
        info = self.fields["initial"]
        return unpack(
            self.read_checked(ObjectInfo(info["path"], 1, info["bytes"], info["sha256"])), self.layout
        )

    def warm_start(self) -> tuple[str, AdapterFactors] | None:
        """The same with its digest, as merging needs it; None where it adds nothing to the model, as random ones do."""
        factors = self.initial_factors()
        return None if adds_nothing(factors) else (self.fields["initial"]["sha256"], factors)

    # -- what came in ------------------------------------------------------------------------------------------------

    def write_documents(self, shard_id: str, documents: Iterable[Document]) -> ObjectInfo:
        """Keep a shard's documents, for the stages to read and for retrieval."""
        with storage_errors("writing", self.uri):
            return write_table(
                self, object_path("documents", shard_id, new_attempt()), tables.documents_table(documents)
            )

    def read_documents(self, source: str | ObjectInfo) -> list[Document]:
        """The documents of an object; checked against its digest when given with it."""
        return list(tables.documents_of(self._table(source)))

    # -- shards ------------------------------------------------------------------------------------------------------

    def begin(self, stage: Stage, shard_id: str, tier: Tier | str = Tier.fp32) -> ShardWriter:
        """An attempt at a shard: a context manager, see `ShardWriter`. `tier` is how adapters are stored."""
        return ShardWriter(self, stage, shard_id, Tier(tier))

    def find_commit(self, stage: Stage, shard_id: str) -> Commit | None:
        with storage_errors("reading", self.uri):
            return commits.find(self, stage, shard_id)

    def list_commits(self, stage: Stage) -> dict[str, Commit]:
        """Every commit of a stage, by shard."""
        with storage_errors("reading", self.uri):
            return commits.list_all(self, stage)

    def committed_shards(self, stage: Stage) -> set[str]:
        """The shards that a stage has committed: one listing."""
        with storage_errors("reading", self.uri):
            return commits.list_shards(self, stage)

    def committed_rows(self) -> pa.Table:
        """Every committed adapter and failure with the columns of a snapshot's index, wanted or not, unsorted, with repeats."""
        with storage_errors("reading", self.uri):
            return commits.committed_rows(self).rows

    def read_augmentations(self, commit: Commit) -> list[Augmentation]:
        return [a for info in commit.all("augmentations") for a in tables.augmentations_of(self._table(info))]

    def read_failures(self, commit: Commit) -> list[Failure]:
        """What was set aside up to this commit: a document's last failure."""
        failures = [
            f for info in reversed(commit.all("failures")) for f in tables.failures_of(self._table(info))
        ]
        return list({failure.key: failure for failure in failures}.values())

    def read_adapters(self, path: str) -> Iterator[Adapter]:
        """Every adapter of an object, as stored."""
        return read_adapter_rows(self, path)

    # -- runs --------------------------------------------------------------------------------------------------------

    def write_run(self, run: str, name: str, data: bytes) -> None:
        """Keep a file of a run, once. Writing the same bytes again is fine; other bytes are a BankError."""
        with storage_errors("writing", self.uri):
            if (
                not create_exclusive(self.fs, self.path(f"runs/{run}/{name}"), data)
                and self.read_run(run, name) != data
            ):
                raise BankError(
                    f"{self.uri}/runs/{run}/{name} exists with other content; files of a run are written once"
                )

    def read_run(self, run: str, name: str) -> bytes:
        """A file of a run. Raises BankError if there is none."""
        try:
            with storage_errors("reading", self.uri):
                return read(self.fs, self.path(f"runs/{run}/{name}"))
        except FileNotFoundError:
            raise BankError(f"{self.uri} has no runs/{run}/{name}") from None

    def list_runs(self) -> list[str]:
        with storage_errors("reading", self.uri):
            return sorted(
                {name.split("/", 1)[0] for name in list_files(self.fs, self.path("runs")) if "/" in name}
            )

    # -- snapshots ---------------------------------------------------------------------------------------------------

    def snapshots(self) -> list[Snapshot]:
        """Every snapshot, newest first."""
        with storage_errors("reading", self.uri):
            return [snapshot.load(self, name) for name in snapshot.list_names(self)]

    def latest_snapshot(self) -> Snapshot | None:
        """The highest number and, among equals, the smallest digest; None before the first."""
        with storage_errors("reading", self.uri):
            names = snapshot.list_names(self)
            return snapshot.load(self, names[0]) if names else None

    def require_snapshot(self) -> Snapshot:
        """Return the newest snapshot. Raises BankError, saying what to run, before the first."""
        newest = self.latest_snapshot()
        if newest is None:
            raise BankError(f"{self.uri} has no snapshot yet; run prag parameterize bank.uri={self.uri}")
        return newest

    def write_snapshot(self, wanted: pa.Table, deleted: Collection[str] = ()) -> Snapshot:
        """Publish what of `wanted` (doc_id, chunk, content_hash) is committed, without documents that were deleted before or are
        in `deleted`. Returns the newest snapshot unchanged when it says just that already."""
        from prag_core.bank.publish import publish

        with storage_errors("writing", self.uri):
            return publish(self, lambda parent, tombstones: wanted, deleted=deleted)

    # -- objects -----------------------------------------------------------------------------------------------------

    def read_checked(self, info: ObjectInfo) -> bytes:
        """An object's bytes. Raises CorruptBankError naming it when it is missing or not what was written."""
        return self._read_checked([info])[0]

    def read_tables(self, infos: Sequence[ObjectInfo]) -> list[pa.Table]:
        """Parquet objects, read concurrently and checked."""
        found = zip(infos, self._read_checked(infos), strict=True)
        return [tables.from_parquet(data, self.path(info.path)) for info, data in found]

    def _read_checked(self, infos: Sequence[ObjectInfo]) -> list[bytes]:
        try:
            with storage_errors("reading", self.uri):
                found = read_many(self.fs, [self.path(info.path) for info in infos])
        except FileNotFoundError as error:
            raise CorruptBankError(
                f"{error.filename} is missing; restore it from a copy, or train its documents again"
            ) from None
        return [
            check_digest(data, info.sha256, self.path(info.path))
            for info, data in zip(infos, found, strict=True)
        ]

    def _table(self, source: str | ObjectInfo) -> pa.Table:
        if isinstance(source, ObjectInfo):
            return self.read_tables([source])[0]
        try:
            with storage_errors("reading", self.uri):
                return tables.from_parquet(read(self.fs, self.path(source)), self.path(source))
        except FileNotFoundError:
            raise BankError(
                f"{self.path(source)} does not exist; prag bank verify says what else is missing"
            ) from None


def _describe_difference(uri: str, theirs: dict[str, Any], ours: dict[str, Any]) -> str:
    there, here = _flatten(theirs), _flatten(ours)
    differing = [key for key in sorted({*there, *here}) if there.get(key) != here.get(key)]
    shown = [
        f"  {key}: {_short(there.get(key))} there, {_short(here.get(key))} here" for key in differing[:20]
    ]
    more = [f"  … and {len(differing) - 20} more"] if len(differing) > 20 else []
    advice = "another recipe is another bank: choose another bank.uri, or go back to these settings"
    return "\n".join([f"{uri} holds adapters of another recipe; {advice}", *shown, *more])


def _flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        return {prefix.rstrip("."): value}
    return {
        name: leaf
        for key, inner in value.items()
        for name, leaf in _flatten(inner, f"{prefix}{key}.").items()
    }


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
