"""The bank: adapters on a folder or an object store, written by many, committed once, read by key."""

from prag_core.bank.bank import Bank
from prag_core.bank.codec import decode, encode, encoded_size
from prag_core.bank.commits import Commit
from prag_core.bank.layout import ObjectInfo, Stage
from prag_core.bank.reader import AdapterReader
from prag_core.bank.snapshot import Entry, Snapshot
from prag_core.bank.writer import ShardWriter

__all__ = [
    "AdapterReader", "Bank", "Commit", "Entry", "ObjectInfo", "ShardWriter", "Snapshot", "Stage",
    "decode", "encode", "encoded_size",
]  # fmt: skip
