"""Files of a run: its settings, versions, plan and statistics, each written once."""

from __future__ import annotations

from prag_core.bank.layout import run_path
from prag_core.bank.store import BankStore
from prag_core.errors import BankError
from prag_core.storage import create_exclusive, list_files, read, storage_errors


def write_run(store: BankStore, run: str, name: str, data: bytes) -> None:
    """Write a file of a run, once. The same bytes may be written again; other bytes are a BankError."""
    path = run_path(run, name)
    with storage_errors("writing", store.uri):
        created = create_exclusive(store.fs, store.path(path), data)
    if not created and read_run(store, run, name) != data:
        raise BankError(f"{store.uri}/{path} exists with other content; files of a run are written once")


def read_run(store: BankStore, run: str, name: str) -> bytes:
    """Read a file of a run. Raises BankError if there is none."""
    path = run_path(run, name)
    try:
        with storage_errors("reading", store.uri):
            return read(store.fs, store.path(path))
    except FileNotFoundError:
        raise BankError(f"{store.uri} has no {path}") from None


def list_runs(store: BankStore) -> list[str]:
    """List the runs that have files, oldest first."""
    with storage_errors("reading", store.uri):
        names = list_files(store.fs, store.path("runs"))
    return sorted({name.split("/", 1)[0] for name in names if "/" in name})
