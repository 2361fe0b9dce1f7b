"""Adapters as PEFT folders: `PeftModel.from_pretrained(base, folder)` loads one and gives the logits of the bank's adapter."""

from __future__ import annotations

import uuid
from pathlib import Path

from prag_core.bank.initial_adapter import read_initial
from prag_core.bank.reader import AdapterReader
from prag_core.bank.snapshot import require
from prag_core.bank.store import BankStore
from prag_core.errors import StorageError
from prag_core.models.lora import AdapterLayout
from prag_core.models.peft_folder import write_peft_folder
from prag_core.records import AdapterFactors, Key
from prag_core.storage import storage_errors


def export_adapter(store: BankStore, key: Key, out_dir: str | Path, base_model: str | None = None) -> Path:
    """Write one document's adapter. Raises BankError if the newest snapshot has none, StorageError if the folder has files."""
    _check_free(Path(out_dir))
    factors = AdapterReader(store, require(store)).fetch([key])[key]
    return _write(factors, store.layout, Path(out_dir), base_model)


def export_initial(store: BankStore, out_dir: str | Path, base_model: str | None = None) -> Path:
    """Write the initial adapter, which every document's training started from."""
    _check_free(Path(out_dir))
    return _write(read_initial(store), store.layout, Path(out_dir), base_model)


def _check_free(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StorageError(
            f"{folder} exists and is not an empty folder; choose another, nothing is overwritten"
        )


def _write(factors: AdapterFactors, layout: AdapterLayout, folder: Path, base_model: str | None) -> Path:
    """Build the folder beside its place and rename it, so that it is whole or not there."""
    temporary = folder.with_name(f".{folder.name}-{uuid.uuid4().hex[:8]}")
    with storage_errors("writing", str(folder)):
        folder.parent.mkdir(parents=True, exist_ok=True)
        write_peft_folder(temporary, factors, rank=layout.rank, alpha=layout.alpha, base_model=base_model)
        temporary.rename(folder)  # over an empty folder too
    return folder
