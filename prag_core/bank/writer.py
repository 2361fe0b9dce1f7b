"""Writing one attempt at a shard: records stream in, data objects come out, one commit decides.

    with store.begin(Stage.adapters, shard_id, tier) as writer:
        for record in …:
            writer.add(record)
        commit = writer.commit()

Nothing counts before `commit`, and nothing ever does when the block is left without it. Adapters are written as they
come, so that a shard is never held whole; augmentations and failures are small and kept until the end.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from prag_core.bank import tables
from prag_core.bank.codec import describe, encode
from prag_core.bank.commits import Commit, claim, inputs_of
from prag_core.bank.layout import ObjectInfo, Stage, new_attempt, object_path, rows_path
from prag_core.bank.store import BankStore
from prag_core.config.schema import Tier
from prag_core.errors import CorruptBankError
from prag_core.models.lora import AdapterLayout
from prag_core.records import Adapter, Augmentation, Failure
from prag_core.storage import FileSystem, PendingObject, storage_errors

Record = Augmentation | Adapter | Failure
FIELDS = (
    "doc_id",
    "chunk",
    "content_hash",
    "steps",
    "tokens",
    "loss_first",
    "loss_last",
    "accepted",
    "score",
)  # of an Adapter, all but its factors


class AdapterFile:
    """An adapters object being written: one row a row group, uncompressed, plain, `value` the tail of each group."""

    def __init__(
        self,
        fs: FileSystem,
        root: str,
        path: str,
        layout: AdapterLayout,
        tier: Tier,
        about: dict[str, str],
        *,
        scored: bool,
    ) -> None:
        self.path, self.object = path, PendingObject(fs, f"{root}/{path}")
        self.layout, self.tier = layout, tier
        self.schema = tables.SCORED_ADAPTERS if scored else tables.ADAPTERS
        description = json.dumps({**describe(layout, tier), **about}, sort_keys=True)
        self._metadata: list[pq.FileMetaData] = []
        self._writer = pq.ParquetWriter(
            self.object,
            self.schema,
            compression="NONE",
            use_dictionary=False,
            write_statistics=False,
            store_schema=False,
            data_page_version="1.0",
            write_page_checksum=True,
            metadata_collector=self._metadata,
        )
        self._writer.add_key_value_metadata({"prag": description})
        self._rows: list[dict[str, object]] = []

    def add(self, adapter: Adapter) -> None:
        """Write an adapter as one row."""
        fields = {field: getattr(adapter, field) for field in FIELDS}
        self.add_row(fields, encode(adapter.factors, self.layout, self.tier))

    def add_row(self, fields: dict[str, object], value: bytes, expected: str | None = None) -> None:
        """Write a row whose value is encoded already. Raises CorruptBankError if its digest is not the expected one."""
        sha256 = hashlib.sha256(value).hexdigest()
        if expected not in (None, sha256):
            raise CorruptBankError(
                f"the adapter of {fields['doc_id']!r} is damaged where it was read from; run prag bank verify"
            )
        row = fields | {"tier": self.tier.value, "value_sha256": sha256, "value": value}
        self._writer.write_table(pa.Table.from_pylist([row], self.schema))
        named = {name: fields.get(name) for name in ("doc_id", "chunk", "content_hash", "accepted", "score")}
        self._rows.append(named | {"tier": self.tier.value, "length": len(value), "sha256": sha256})

    def publish(self, store: BankStore) -> list[ObjectInfo]:
        """Make the object visible, and write its rows object. Returns both."""
        rows = self._close()
        self.object.publish()
        adapters = ObjectInfo(self.path, rows.num_rows, self.object.size, self.object.sha256)
        return [adapters, store.write_table(rows_path(self.path), rows)]

    def _close(self) -> pa.Table:
        """Finish the file (not yet visible). Returns its rows with the place of each value in it."""
        self._writer.close()
        (metadata,) = self._metadata
        for number, row in enumerate(self._rows):
            column = metadata.row_group(number).column(metadata.num_columns - 1)
            end = column.data_page_offset + column.total_compressed_size
            row["start"] = end - int(str(row["length"]))
        return pa.Table.from_pylist(self._rows, tables.ROWS)

    def discard(self) -> None:
        """Discard the object. Harmless after `publish`."""
        with contextlib.suppress(Exception):  # else pyarrow writes to the closed file when collected
            self._writer.close()
        self.object.discard()


def adapter_file(store: BankStore, shard_id: str, attempt: str, tier: Tier, *, scored: bool) -> AdapterFile:
    """Open the adapters object of an attempt for writing. `scored`: its adapters sat an exam and have scores."""
    about = {"recipe_id": store.recipe.id, "shard_id": shard_id, "attempt": attempt}
    return AdapterFile(
        store.fs,
        store.root,
        object_path("adapters", shard_id, attempt),
        store.layout,
        tier,
        about,
        scored=scored,
    )


def write_rows(
    store: BankStore, shard_id: str, attempt: str, rows: Iterable[dict[str, Any]]
) -> list[ObjectInfo]:
    """Write rows of adapters objects, as they are stored, as the adapters object of an attempt. Returns it with its rows object;
    nothing if there are no rows. Raises CorruptBankError for a row whose value is damaged."""
    file: AdapterFile | None = None
    try:
        for row in rows:
            tier, scored = Tier(row["tier"]), "score" in row
            file = file or adapter_file(store, shard_id, attempt, tier, scored=scored)
            file.add_row(row, row.pop("value"), expected=row.pop("value_sha256"))
        return file.publish(store) if file else []
    finally:
        if file:
            file.discard()


class ShardWriter:
    """One attempt at a shard's stage. Not for sharing between threads."""

    def __init__(self, store: BankStore, stage: Stage, shard_id: str, tier: Tier) -> None:
        self.store, self.stage, self.shard_id, self.tier = store, stage, shard_id, tier
        self.attempt = new_attempt()
        self._adapters: AdapterFile | None = None
        self._augmentations: list[Augmentation] = []
        self._failures: list[Failure] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._adapters:
            self._adapters.discard()
            self._adapters = None

    def add(self, record: Record) -> None:
        """Add one record of this stage, or a failure."""
        if isinstance(record, Failure):
            self._failures.append(record)
        elif isinstance(record, Adapter) and self.stage is Stage.adapters:
            with storage_errors("writing", self.store.uri):
                scored = record.score is not None
                self._adapters = self._adapters or adapter_file(
                    self.store, self.shard_id, self.attempt, self.tier, scored=scored
                )
                self._adapters.add(record)
        elif isinstance(record, Augmentation) and self.stage is Stage.augmentations:
            self._augmentations.append(record)
        else:
            raise TypeError(f"a {type(record).__name__} is not a record of the {self.stage.value} stage")

    def commit(self, inputs: Sequence[ObjectInfo] = ()) -> Commit:
        """Make this attempt's objects visible and claim the shard. Returns the commit that counts: ours, or the one that
        was there first (our objects are then left for gc).

        `inputs` are the objects this attempt was made from (documents, augmentations, earlier failures). Documents and
        augmentations that are not among them are looked up in the bank.
        """
        with storage_errors("writing", self.store.uri):
            objects = self._write_objects()
            sources = inputs_of(self.store, self.stage, self.shard_id, inputs)
            objects += [info for info in sources if info not in objects]
            return claim(self.store, Commit(self.stage, self.shard_id, self.attempt, tuple(objects)))

    def _write_objects(self) -> list[ObjectInfo]:
        objects = self._adapters.publish(self.store) if self._adapters else []
        if self._augmentations:
            objects.append(self._write("augmentations", tables.augmentations_table(self._augmentations)))
        if self._failures:
            objects.append(self._write("failures", tables.failures_table(self._failures)))
        return objects

    def _write(self, kind: str, table: pa.Table) -> ObjectInfo:
        return self.store.write_table(object_path(kind, self.shard_id, self.attempt), table)
