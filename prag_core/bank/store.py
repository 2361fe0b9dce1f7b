"""The objects of a bank: where they are, and how they are read and written with their digests checked.

Every other module of this package works on a `BankStore`. It holds no connection of its own and pickles as its URI and
bank.json, so that workers need not read that file again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import Any, Self

import pyarrow as pa

from prag_core.bank import tables
from prag_core.bank.columns import conform, schema_of
from prag_core.bank.layout import BANK_FILE, ObjectInfo, kind_of
from prag_core.bank.sealed import read_sealed
from prag_core.errors import BankError, CorruptBankError
from prag_core.identity import Recipe
from prag_core.models.lora import AdapterLayout
from prag_core.storage import (
    FileSystem,
    is_local,
    leads_out,
    open_root,
    put_whole,
    read,
    read_ranges,
    storage_errors,
)


class BankStore:
    """The place of one bank. `fields` is the content of its bank.json."""

    def __init__(self, uri: str, fields: dict[str, Any]) -> None:
        self.uri, self.fields = uri, fields
        try:
            self.recipe = Recipe(dict(fields["recipe"]))
            self.layout = AdapterLayout.from_json(fields["layout"])
        except (KeyError, TypeError, ValueError, OverflowError):
            raise CorruptBankError(
                f"{uri}/{BANK_FILE} does not describe a bank; it is damaged, restore it from a copy"
            ) from None
        self._opened: tuple[int, FileSystem, str] | None = None

    def __reduce__(self) -> tuple[type[Self], tuple[str, dict[str, Any]]]:
        return type(self), (self.uri, self.fields)

    @property
    def fs(self) -> FileSystem:
        return self._open()[1]

    @property
    def root(self) -> str:
        return self._open()[2]

    def _open(self) -> tuple[int, FileSystem, str]:
        """The file system of this process. One that was opened before a fork must not be used after it."""
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = (os.getpid(), *open_root(self.uri))
        return self._opened

    def path(self, relative: str) -> str:
        """Path of an object in the file system. Raises CorruptBankError if a link within a local bank leads out of it."""
        if is_local(self.fs) and leads_out(self.root, relative):
            raise CorruptBankError(
                f"{self.root}/{relative}: a link in this bank leads out of it; put what it names in its place"
            )
        return f"{self.root}/{relative}"

    def read_sealed(self, path: str) -> dict[str, Any]:
        """Read the fields of a sealed JSON file. Raises FileNotFoundError, or CorruptBankError naming the file."""
        return read_sealed(self.fs, self.path(path))

    def read_objects(self, infos: Sequence[ObjectInfo]) -> list[bytes]:
        """Read whole objects concurrently, and those whose bytes are wrong once more: a network may garble them. Raises
        CorruptBankError naming one that is missing or not what was written."""
        contents = dict(zip(infos, self._read_whole(infos), strict=True))
        wrong = [info for info, data in contents.items() if not _is_intact(data, info)]
        contents |= zip(wrong, self._read_whole(wrong), strict=True)
        for info in wrong:
            if not _is_intact(contents[info], info):
                raise CorruptBankError(_describe_damage(self.path(info.path), contents[info], info))
        return [contents[info] for info in infos]

    def _read_whole(self, infos: Sequence[ObjectInfo]) -> list[bytes]:
        paths, ends = [self.path(info.path) for info in infos], [info.bytes + 1 for info in infos]
        try:
            with storage_errors("reading", self.uri):
                return read_ranges(self.fs, paths, [0] * len(paths), ends)
        except FileNotFoundError as error:
            raise CorruptBankError(
                f"{error.filename} is missing; restore it from a copy, or train its documents again"
            ) from None

    def read_tables(self, infos: Sequence[ObjectInfo], schema: pa.Schema | None = None) -> list[pa.Table]:
        """Read Parquet objects concurrently, checked as `read_objects` does. They have the columns of `schema` (None: of their
        kind of data object), in that order. Raises CorruptBankError naming one that has not."""
        contents = zip(infos, self.read_objects(infos), strict=True)
        return [self._decode(data, info.path, schema) for info, data in contents]

    def read_table(self, source: str | ObjectInfo, schema: pa.Schema | None = None) -> pa.Table:
        """Read one Parquet object as `read_tables` does, its digest unchecked if only a path is given. Raises BankError if there
        is none at a path."""
        if isinstance(source, ObjectInfo):
            return self.read_tables([source], schema)[0]
        try:
            with storage_errors("reading", self.uri):
                return self._decode(read(self.fs, self.path(source)), source, schema)
        except FileNotFoundError:
            raise BankError(
                f"{self.path(source)} does not exist; prag bank verify says what else is missing"
            ) from None

    def _decode(self, data: bytes, relative: str, schema: pa.Schema | None) -> pa.Table:
        name = self.path(relative)
        expected = schema or schema_of(kind_of(relative), name)
        return conform(tables.from_parquet(data, name), expected, name)

    def write_table(self, path: str, table: pa.Table) -> ObjectInfo:
        """Write a table as one Parquet object."""
        data = tables.to_parquet(table)
        with storage_errors("writing", self.uri):
            put_whole(self.fs, self.path(path), data)
        return ObjectInfo(path, table.num_rows, len(data), hashlib.sha256(data).hexdigest())


def _is_intact(data: bytes, info: ObjectInfo) -> bool:
    return hashlib.sha256(data).hexdigest() == info.sha256


def _describe_damage(path: str, data: bytes, info: ObjectInfo) -> str:
    if len(data) < info.bytes:
        return f"{path} is damaged: it ends after {len(data):,} of {info.bytes:,} bytes; run prag bank verify"
    return f"{path} is damaged: its SHA-256 is not the recorded {info.sha256[:12]}…; run prag bank verify"
