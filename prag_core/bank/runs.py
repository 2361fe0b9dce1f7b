"""Files of a run: its settings, versions, plan and statistics, each written once.

plan.json is sealed and written when a run's planning is finished; it names the other files with their digests (`objects`), which
are checked whenever one of them is read. Plans of before digests were kept are not sealed.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from prag_core.bank.layout import ObjectInfo, run_path
from prag_core.bank.sealed import MOST_BYTES, unseal
from prag_core.bank.store import BankStore
from prag_core.errors import BankError, CorruptBankError
from prag_core.storage import create_exclusive, list_files, read, storage_errors

PLAN_FILE, SHARDS_FILE = "plan.json", "shards.json"
SEALED = (PLAN_FILE, SHARDS_FILE)


def write_run(store: BankStore, run: str, name: str, data: bytes, rows: int = 0) -> ObjectInfo:
    """Write a file of a run, once. The same bytes may be written again; other bytes are a BankError."""
    path = run_path(run, name)
    with storage_errors("writing", store.uri):
        created = create_exclusive(store.fs, store.path(path), data)
    if not created and _read(store, path) != data:
        raise BankError(f"{store.uri}/{path} exists with other content; files of a run are written once")
    return ObjectInfo(path, rows, len(data), hashlib.sha256(data).hexdigest())


def read_run(store: BankStore, run: str, name: str) -> bytes:
    """Read a file of a run. Raises BankError if there is none, CorruptBankError if it is not what the run's plan names."""
    path = run_path(run, name)
    info = None if name in SEALED else next((o for o in run_objects(store, run) if o.path == path), None)
    return store.read_objects([info])[0] if info else _read(store, path)


def read_run_sealed(store: BankStore, run: str, name: str) -> Any:
    """Read plan.json or shards.json of a run: the fields, or what earlier versions wrote there unsealed. Raises BankError if
    there is none, CorruptBankError if it is damaged."""
    data, where = _read(store, run_path(run, name)), store.path(run_path(run, name))
    try:
        fields = json.loads(data) if len(data) <= MOST_BYTES else None
    except (ValueError, RecursionError):
        fields = None
    if isinstance(fields, list) or (isinstance(fields, dict) and not fields.keys() & {"sha256", "objects"}):
        return fields
    return unseal(data, where)


def run_objects(store: BankStore, run: str) -> list[ObjectInfo]:
    """The files of a run that its plan names; none for a run that has no plan yet, or one of before digests were kept."""
    try:
        plan = read_run_sealed(store, run, PLAN_FILE)
    except CorruptBankError:
        raise
    except BankError:
        return []
    where = store.path(run_path(run, PLAN_FILE))
    objects = plan.get("objects", []) if isinstance(plan, dict) else None
    if not isinstance(objects, list):
        raise CorruptBankError(f"{where} is damaged: it names no files; restore it from a copy")
    infos = [ObjectInfo.from_fields(fields, where) for fields in objects]
    if any(not info.path.startswith(f"runs/{run}/") for info in infos):
        raise CorruptBankError(f"{where} names files of another run; restore it from a copy")
    return infos


def list_runs(store: BankStore) -> list[str]:
    """List the runs that have files, oldest first."""
    with storage_errors("reading", store.uri):
        names = list_files(store.fs, store.path("runs"))
    return sorted({name.split("/", 1)[0] for name in names if "/" in name})


def _read(store: BankStore, path: str) -> bytes:
    try:
        with storage_errors("reading", store.uri):
            return read(store.fs, store.path(path), MOST_BYTES + 1)
    except FileNotFoundError:
        raise BankError(f"{store.uri} has no {path}") from None
