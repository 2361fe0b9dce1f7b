"""Benchmark of what the bank's operations ask of an object store: requests by kind, in banks of more and more shards.

    python -m benchmarks.requests --shards 16 64 256

The store is in memory and counts. A listing is as many requests as it has pages of 1,000 objects. Documents are few a shard and
parts of the catalog small, so that a bank has many of both; what an operation reads and writes is all that matters here.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import fsspec
from fsspec.implementations.memory import MemoryFileSystem

from benchmarks import machine
from benchmarks.control_plane import Run
from prag_core.bank import AdapterReader, Bank, catalog, delete_documents
from prag_core.bank.gc.collect import gc

PAGE = 1000  # objects of a listing that one request returns
SHARD_DOCUMENTS = 4
PART_SHARDS = 16  # shards whose documents fill a part of the catalog
KINDS = ("GET", "HEAD", "PUT", "LIST", "DELETE")


class CountedStore(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
    """An object store in memory that counts requests."""

    protocol = "counted"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    requests: ClassVar[Counter[str]] = Counter()
    within: ClassVar[threading.local] = threading.local()

    @contextmanager
    def _one(self, kind: str) -> Iterator[None]:
        """Count a request, and none of those that this store makes of itself for it."""
        nested = getattr(self.within, "request", False)
        self.requests[kind] += not nested
        self.within.request = True
        try:
            yield
        finally:
            self.within.request = nested

    def cat_file(self, path: str, *arguments: Any, **options: Any) -> Any:
        with self._one("GET"):
            return super().cat_file(path, *arguments, **options)

    def exists(self, path: str, **options: Any) -> bool:
        with self._one("HEAD"):
            return bool(super().exists(path, **options))

    def pipe_file(self, path: str, value: bytes, *arguments: Any, **options: Any) -> None:
        with self._one("PUT"):
            super().pipe_file(path, value, *arguments, **options)

    def put_file(self, lpath: str, rpath: str, **options: Any) -> None:
        with self._one("PUT"):
            super().put_file(lpath, rpath, **options)

    def rm_file(self, path: str) -> None:
        with self._one("DELETE"):
            super().rm_file(path)

    def find(self, path: str, *arguments: Any, prefix: str = "", **options: Any) -> Any:
        found = super().find(path, *arguments, **options)
        listed = [name for name in found if name.removeprefix(f"{path}/").startswith(prefix)]
        self.requests["LIST"] += max(1, -(-len(listed) // PAGE))
        return found


fsspec.register_implementation("counted", CountedStore)


def count(work: Callable[[], object]) -> dict[str, int]:
    """The requests that some work makes, by kind."""
    CountedStore.requests.clear()
    work()
    return {kind: CountedStore.requests[kind] for kind in KINDS}


def measure(folder: Path, shards: int) -> dict[str, dict[str, int]]:
    """The requests of each operation in a bank of so many shards."""
    CountedStore.store.clear()
    catalog.PART_ROWS = PART_SHARDS * SHARD_DOCUMENTS
    settings = [f"bank.uri=counted://bank{shards}", f"bank.shard_documents={SHARD_DOCUMENTS}"]
    run = Run(folder, shards * SHARD_DOCUMENTS, float("inf"), settings)
    operations: dict[str, Callable[[], object]] = {
        "first plan": run.plan,
        "first publish": run.snapshot,
        "resume: plan": run.resume,
        "resume: publish": run.snapshot,
        "look-up": lambda: look_up(run.bank()),
        "deletion": lambda: delete_documents(run.bank(), ["doc-00000001"]),
        "gc, nothing due": lambda: gc(run.bank(), dry_run=False),
        "gc, a document due": lambda: gc(run.bank(), timedelta(0), dry_run=False, force=True),
        "gc again": lambda: gc(run.bank(), timedelta(0), dry_run=False, force=True),
    }
    requests = {}
    for name, work in operations.items():
        if name == "first publish":
            run.commit()
        requests[name] = count(work)
    return requests


def look_up(bank: Bank) -> None:
    """Open the newest snapshot and read one adapter."""
    assert AdapterReader(bank, bank.require_snapshot()).fetch([("doc-00000002", 0)])


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.requests", description=str(__doc__).split("\n\n")[0]
    )
    parser.add_argument("--shards", type=int, nargs="+", default=[16, 64, 256])
    options = parser.parse_args(argv)
    rows = []
    for shards in options.shards:
        with tempfile.TemporaryDirectory() as folder:
            requests = measure(Path(folder), shards)
        rows += [{"operation": name, "shards": shards, **counts} for name, counts in requests.items()]
    rows.sort(key=lambda row: list(requests).index(str(row["operation"])))
    machine.show("Requests", list(rows[0]), [[*row.values()] for row in rows])
    return {"rows": rows}


if __name__ == "__main__":
    machine.save("requests", main())
