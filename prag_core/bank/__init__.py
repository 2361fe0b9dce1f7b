"""The bank: adapters on a folder or an object store, written by many, committed once, read by key."""

from prag_core.bank.bank import Bank
from prag_core.bank.codec import decode, encode, encoded_size
from prag_core.bank.commits import Commit
from prag_core.bank.delete import delete_documents, restore_documents
from prag_core.bank.export import export_adapter, export_initial
from prag_core.bank.gc.collect import GcReport, gc
from prag_core.bank.initial_adapter import WarmStart, load_warm_start, read_warm_start, write_warm_start
from prag_core.bank.layout import ObjectInfo, Stage
from prag_core.bank.lease import hold_lease
from prag_core.bank.reader import AdapterReader
from prag_core.bank.repair import RepairReport, repair
from prag_core.bank.snapshot import Entry, Snapshot
from prag_core.bank.verify import Problem, verify
from prag_core.bank.writer import ShardWriter

__all__ = [
    "AdapterReader",
    "Bank",
    "Commit",
    "Entry",
    "GcReport",
    "ObjectInfo",
    "Problem",
    "RepairReport",
    "ShardWriter",
    "Snapshot",
    "Stage",
    "WarmStart",
    "decode",
    "delete_documents",
    "encode",
    "encoded_size",
    "export_adapter",
    "export_initial",
    "gc",
    "hold_lease",
    "load_warm_start",
    "read_warm_start",
    "repair",
    "restore_documents",
    "verify",
    "write_warm_start",
]
