"""Writing one attempt at a shard: records stream in, data objects come out, one marker decides.

    with bank.begin(Stage.adapters, shard_id, tier) as writer:
        for record in …:
            writer.add(record)
        commit = writer.commit()

Nothing is visible before `commit`, and nothing ever is when the block is left without it. Adapters are written as they
come, so that a shard is never held whole; augmentations and failures are small and kept until the end.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

import pyarrow as pa
import pyarrow.parquet as pq

from prag_core.bank import tables
from prag_core.bank.codec import describe, encode
from prag_core.bank.commits import Commit, inputs_of, publish
from prag_core.bank.layout import ObjectInfo, Stage, new_attempt, object_path
from prag_core.config.choices import Tier
from prag_core.errors import CorruptBankError
from prag_core.models.lora import AdapterLayout
from prag_core.records import Adapter, Augmentation, Failure
from prag_core.storage import FileSystem, PendingObject, put_whole, storage_errors

if TYPE_CHECKING:
    from prag_core.bank.bank import Bank

Record = Augmentation | Adapter | Failure


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
        figures = {
            "steps": adapter.steps,
            "tokens": adapter.tokens,
            "accepted": adapter.accepted,
            "score": adapter.score,
        }
        losses = {"loss_first": adapter.loss_first, "loss_last": adapter.loss_last}
        key = {"doc_id": adapter.doc_id, "chunk": adapter.chunk, "content_hash": adapter.content_hash}
        self.add_row(key | figures | losses, encode(adapter.factors, self.layout, self.tier))

    def add_row(self, fields: dict[str, object], value: bytes, expected: str | None = None) -> None:
        """Write a row whose value is encoded already; tier and digest are filled in (and compared with one expected)."""
        sha256 = hashlib.sha256(value).hexdigest()
        if expected not in (None, sha256):
            raise CorruptBankError(
                f"the adapter of {fields['doc_id']!r} is damaged where it was read from; run prag bank verify"
            )
        row = fields | {"tier": self.tier.value, "value_sha256": sha256, "value": value}
        self._writer.write_table(pa.Table.from_pylist([row], self.schema))
        named = {name: fields.get(name) for name in ("doc_id", "chunk", "content_hash", "accepted", "score")}
        self._rows.append(named | {"tier": self.tier.value, "length": len(value), "sha256": sha256})

    def publish(self, bank: Bank) -> list[ObjectInfo]:
        """Make the object visible, with its rows beside it. Returns both."""
        rows = self._close()
        self.object.publish()
        adapters = ObjectInfo(self.path, rows.num_rows, self.object.size, self.object.sha256)
        return [adapters, write_table(bank, self.path.replace("adapters/", "rows/", 1), rows)]

    def _close(self) -> pa.Table:
        """Finish the file (not yet visible). Returns its rows with where each value lies in it."""
        self._writer.close()
        (metadata,) = self._metadata
        for number, row in enumerate(self._rows):
            column = metadata.row_group(number).column(metadata.num_columns - 1)
            end = column.data_page_offset + column.total_compressed_size
            row["start"] = end - int(str(row["length"]))
        return pa.Table.from_pylist(self._rows, tables.ROWS)

    def discard(self) -> None:
        """Forget the object. Harmless after `publish`."""
        with contextlib.suppress(
            Exception
        ):  # else pyarrow closes it when collected, and writes to a closed file
            self._writer.close()
        self.object.discard()


def adapter_file(bank: Bank, shard_id: str, attempt: str, tier: Tier, *, scored: bool) -> AdapterFile:
    """The adapters object of an attempt, open for writing; where its adapters were examined, with their scores."""
    about = {"recipe_id": bank.recipe.id, "shard_id": shard_id, "attempt": attempt}
    return AdapterFile(
        bank.fs,
        bank.root,
        object_path("adapters", shard_id, attempt),
        bank.layout,
        tier,
        about,
        scored=scored,
    )


class ShardWriter:
    """One attempt at a shard's stage. Not for sharing between threads."""

    def __init__(self, bank: Bank, stage: Stage, shard_id: str, tier: Tier) -> None:
        self.bank, self.stage, self.shard_id, self.tier = bank, stage, shard_id, tier
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
        """Take one record of this stage, or a failure."""
        if isinstance(record, Failure):
            self._failures.append(record)
        elif isinstance(record, Adapter) and self.stage is Stage.adapters:
            with storage_errors("writing", self.bank.uri):
                scored = record.score is not None
                self._adapters = self._adapters or adapter_file(
                    self.bank, self.shard_id, self.attempt, self.tier, scored=scored
                )
                self._adapters.add(record)
        elif isinstance(record, Augmentation) and self.stage is Stage.augmentations:
            self._augmentations.append(record)
        else:
            raise TypeError(f"a {type(record).__name__} is not a record of the {self.stage.value} stage")

    def commit(self, extra_objects: Sequence[ObjectInfo] = ()) -> Commit:
        """Make this attempt's objects visible and claim the shard. Returns the commit that counts: ours, or the one that
        was there first (our objects are then left for gc).

        `extra_objects` are the objects this attempt was made from (documents, augmentations, failures before it); documents and
        augmentations that are not given are looked up in the bank.
        """
        with storage_errors("writing", self.bank.uri):
            objects = self._write_objects()
            objects += [
                info
                for info in inputs_of(self.bank, self.stage, self.shard_id, extra_objects)
                if info not in objects
            ]
            return publish(self.bank, Commit(self.stage, self.shard_id, self.attempt, tuple(objects)))

    def _write_objects(self) -> list[ObjectInfo]:
        objects: list[ObjectInfo] = []
        if self._adapters:
            objects += self._adapters.publish(self.bank)
        if self._augmentations:
            objects.append(
                write_table(
                    self.bank, self._path("augmentations"), tables.augmentations_table(self._augmentations)
                )
            )
        if self._failures:
            objects.append(
                write_table(self.bank, self._path("failures"), tables.failures_table(self._failures))
            )
        return objects

    def _path(self, kind: str) -> str:
        return object_path(kind, self.shard_id, self.attempt)


def write_table(bank: Bank, path: str, table: pa.Table) -> ObjectInfo:
    """Write a table as one Parquet object."""
    data = tables.to_parquet(table)
    put_whole(bank.fs, bank.path(path), data)
    return ObjectInfo(path, table.num_rows, len(data), hashlib.sha256(data).hexdigest())
