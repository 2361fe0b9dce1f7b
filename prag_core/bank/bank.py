"""A bank: the adapters of a corpus under one recipe, with what they were made from, on a folder or an object store.

`Bank` opens and creates banks and is the entrance to this package: its methods are the functions of the modules beside it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Self

import pyarrow as pa

from prag_core.bank import commits, initial_adapter, published, runs, snapshot, tables
from prag_core.bank.catalog import CATALOG, as_catalog
from prag_core.bank.commits import Commit
from prag_core.bank.committed import read_committed
from prag_core.bank.layout import BANK_FILE, ObjectInfo, Stage, initial_path, new_attempt, object_path
from prag_core.bank.publish import Request, publish
from prag_core.bank.sealed import seal, unseal
from prag_core.bank.snapshot import Snapshot
from prag_core.bank.store import BankStore
from prag_core.bank.writer import ShardWriter
from prag_core.config.full_names import flatten
from prag_core.config.schema import Tier
from prag_core.errors import BankError, StorageError
from prag_core.identity import Recipe
from prag_core.models.lora import AdapterLayout, check_factors
from prag_core.records import AdapterFactors, Augmentation, Document
from prag_core.storage import create_exclusive, is_local, open_root, put_whole, read, storage_errors

FORMAT = 1


class Bank(BankStore):
    """One bank, opened."""

    @classmethod
    def open(cls, uri: str) -> Self:
        """Open a bank. Raises BankError if there is none or its format is unknown, StorageError if it cannot be reached."""
        bank = cls.find(uri)
        if bank is None:
            raise BankError(f"{uri}: there is no bank here (no {BANK_FILE}); prag parameterize makes one")
        return bank

    @classmethod
    def find(cls, uri: str) -> Self | None:
        """Open the bank if there is one, else return None. Raises BankError for one of another format."""
        fs, root = open_root(uri)
        path = f"{root}/{BANK_FILE}"
        try:
            with storage_errors("opening the bank", uri):
                data = read(fs, path)
        except FileNotFoundError:
            return None
        fields = unseal(data, path)
        if fields.get("format") != FORMAT:
            raise BankError(
                f"{path} has format {fields.get('format')}, this version reads {FORMAT}; use the version that wrote it"
            )
        return cls(uri, fields)

    @classmethod
    def create(cls, uri: str, recipe: Recipe, layout: AdapterLayout, initial: AdapterFactors) -> Self:
        """Open the bank of this recipe, or create it. Raises BankError if there is one of another recipe, naming the settings
        that differ, and StorageError if the place cannot be written."""
        bank = cls.find(uri) or cls._create(uri, recipe, layout, initial)
        bank.require_recipe(recipe, layout)
        if is_local(bank.fs) and not os.access(bank.root, os.W_OK):
            raise StorageError(
                f"{uri}: this folder cannot be written; change its permissions or choose another bank.uri"
            )
        return bank

    @classmethod
    def _create(cls, uri: str, recipe: Recipe, layout: AdapterLayout, initial: AdapterFactors) -> Self:
        check_factors(initial, layout)
        data = initial_adapter.pack(initial)
        sha256 = hashlib.sha256(data).hexdigest()
        path = initial_path(sha256)
        fields = {
            "format": FORMAT,
            "recipe": recipe.fields,
            "recipe_id": recipe.id,
            "layout": layout.to_json(),
            "initial": {"path": path, "bytes": len(data), "sha256": sha256},
        }
        bank = cls(uri, fields)
        with storage_errors("creating the bank", uri):
            put_whole(bank.fs, bank.path(path), data)
            create_exclusive(bank.fs, bank.path(BANK_FILE), seal(fields))
        return cls.open(uri)

    def require_recipe(self, recipe: Recipe, layout: AdapterLayout) -> None:
        """Raise BankError if the bank is of another recipe, naming the settings that differ, or of another model's shape."""
        if self.recipe.id != recipe.id:
            raise BankError(_describe_difference(self.uri, self.recipe.fields, recipe.fields))
        if self.layout != layout:
            raise BankError(
                f"{self.uri} holds adapters of another shape than this model's; another model is another bank"
            )

    # -- the initial adapter ------------------------------------------------------------------------------------------

    def initial_factors(self) -> AdapterFactors:
        """Read the adapter that every document's training starts from."""
        return initial_adapter.read_initial(self)

    def warm_start(self) -> tuple[str, AdapterFactors] | None:
        """Read the initial adapter with its digest, as merging needs it. None if it adds nothing to the model, as random ones."""
        return initial_adapter.read_initial_to_add(self)

    # -- shards -------------------------------------------------------------------------------------------------------

    def write_documents(self, shard_id: str, documents: Iterable[Document]) -> ObjectInfo:
        """Keep the documents of a shard, for the stages to read and for retrieval."""
        path = object_path("documents", shard_id, new_attempt())
        return self.write_table(path, tables.documents_table(documents))

    def read_documents(self, source: str | ObjectInfo) -> list[Document]:
        """Read the documents of an object, checked if its digest is given with it."""
        return list(tables.documents_of(self.read_table(source, tables.DOCUMENTS)))

    def begin(self, stage: Stage, shard_id: str, tier: Tier | str = Tier.fp32) -> ShardWriter:
        """Begin an attempt at a shard: a context manager, see `ShardWriter`. `tier` is how adapters are stored."""
        return ShardWriter(self, stage, shard_id, Tier(tier))

    def find_commit(self, stage: Stage, shard_id: str) -> Commit | None:
        return commits.find(self, stage, shard_id)

    def list_commits(self, stage: Stage) -> dict[str, Commit]:
        """Read every commit of a stage, by shard."""
        return commits.list_all(self, stage)

    def committed_shards(self, stage: Stage) -> set[str]:
        """List the shards that a stage has committed, without reading their commits."""
        return commits.list_shards(self, stage)

    def committed_rows(self, columns: Sequence[str] = tables.INDEX.names) -> pa.Table:
        """Every committed adapter and failure with columns of the catalog, wanted or not, unsorted, with repeats: the
        catalog of the newest snapshot, and what was committed since."""
        return published.on_newest(self, partial(self._committed_rows, columns))

    def _committed_rows(self, columns: Sequence[str], name: str | None) -> pa.Table:
        newest = snapshot.load(self, name) if name else None
        rows = [CATALOG.empty_table().select(columns)]
        rows += [newest.read_part(part).select(columns) for part in newest.parts] if newest else []
        for committed in read_committed(self, newest.commits if newest else ()):
            rows += [as_catalog(new).select(columns) for new in committed.rows]
        return pa.concat_tables(rows).unify_dictionaries()

    def read_augmentations(self, commit: Commit) -> list[Augmentation]:
        objects = self.read_tables(commit.all("augmentations"))
        return [augmentation for table in objects for augmentation in tables.augmentations_of(table)]

    # -- runs ---------------------------------------------------------------------------------------------------------

    def write_run(self, run: str, name: str, data: bytes, rows: int = 0) -> ObjectInfo:
        """Write a file of a run, once. The same bytes may be written again; other bytes are a BankError."""
        return runs.write_run(self, run, name, data, rows)

    def read_run(self, run: str, name: str) -> bytes:
        """Read a file of a run. Raises BankError if there is none, CorruptBankError if it is not what the run's plan names."""
        return runs.read_run(self, run, name)

    def read_run_sealed(self, run: str, name: str) -> Any:
        """Read plan.json or shards.json of a run. Raises BankError if there is none, CorruptBankError if it is damaged."""
        return runs.read_run_sealed(self, run, name)

    def list_runs(self) -> list[str]:
        """List the runs that have files, oldest first."""
        return runs.list_runs(self)

    # -- snapshots ----------------------------------------------------------------------------------------------------

    def snapshots(self) -> list[Snapshot]:
        """Load every snapshot, newest first."""
        return snapshot.load_all(self)

    def latest_snapshot(self) -> Snapshot | None:
        """Load the newest published snapshot. None before the first. Raises CorruptBankError if it is lost or damaged."""
        return snapshot.latest(self)

    def require_snapshot(self) -> Snapshot:
        """Load the newest snapshot. Raises BankError, saying what to run, before the first."""
        return snapshot.require(self)

    def write_snapshot(self, wanted: pa.Table) -> Snapshot:
        """Publish what of `wanted` (doc_id, chunk, content_hash) is committed and not deleted. Returns the newest snapshot
        unchanged if it says the same already."""
        return publish(self, Request(wanted=wanted.select(tables.WANTED.names).cast(tables.WANTED)))


def _describe_difference(uri: str, theirs: dict[str, Any], ours: dict[str, Any]) -> str:
    """Message that names the settings in which two recipes differ."""
    there, here = flatten(theirs), flatten(ours)
    differing = [key for key in sorted({*there, *here}) if there.get(key) != here.get(key)]
    lines = [
        f"  {key}: {_short(there.get(key))} there, {_short(here.get(key))} here" for key in differing[:20]
    ]
    more = [f"  … and {len(differing) - 20} more"] if len(differing) > 20 else []
    advice = "another recipe is another bank: choose another bank.uri, or go back to these settings"
    return "\n".join([f"{uri} holds adapters of another recipe; {advice}", *lines, *more])


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
