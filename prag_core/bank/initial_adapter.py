"""The initial adapter, which every document's training starts from: in a bank (`init/`), and as the file of a warm-up.

Both are safetensors with `<module>.a` and `<module>.b` in float32, so that equal factors are equal bytes, whose SHA-256 names
the adapter. A warm-up's file also records, sealed, what it was made from. Any changed byte of either is noticed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from prag_core.bank.layout import BANK_FILE, ObjectInfo
from prag_core.bank.sealed import seal, unseal
from prag_core.bank.store import BankStore
from prag_core.errors import ConfigError, CorruptBankError, StorageError
from prag_core.models.lora import AdapterLayout, check_factors
from prag_core.records import AdapterFactors, Factors
from prag_core.storage import open_root, put_whole, read, storage_errors

FORMAT = 1
NOTE = "warmup"  # the name of the sealed note in the file's metadata


@dataclass(frozen=True)
class WarmStart:
    """A warm-up's adapter. `made_from`: whatever its factors depend on, as plain values; `figures`: what training it showed."""

    factors: AdapterFactors
    layout: AdapterLayout
    model: str  # identity of the base model
    made_from: Mapping[str, Any]
    figures: Mapping[str, Any]

    @property
    def sha256(self) -> str:
        return hashlib.sha256(pack(self.factors)).hexdigest()


def pack(factors: AdapterFactors, note: str | None = None) -> bytes:
    """Encode factors as safetensors, with a note in the metadata."""
    tensors = {
        f"{name}.{part}": array for name, pair in factors.items() for part, array in _parts(pair).items()
    }
    return save(tensors, None if note is None else {NOTE: note})


def unpack(data: bytes, layout: AdapterLayout) -> AdapterFactors:
    """Decode the factors of a layout's modules. Raises ValueError, KeyError or SafetensorError for anything else."""
    tensors = load(data)
    factors = {m.name: Factors(tensors[f"{m.name}.a"], tensors[f"{m.name}.b"]) for m in layout.modules}
    check_factors(factors, layout)
    return factors


def adds_nothing(factors: AdapterFactors) -> bool:
    """Whether the adapter leaves the model as it is: all its b are zero, as after random initialisation."""
    return not any(pair.b.any() for pair in factors.values())


def read_initial(store: BankStore) -> AdapterFactors:
    """Read the initial adapter of a bank. Raises CorruptBankError if it is damaged."""
    (data,) = store.read_objects([initial_object(store)])
    try:
        return unpack(data, store.layout)
    except (SafetensorError, KeyError, ValueError, TypeError):
        path = store.path(initial_object(store).path)
        raise CorruptBankError(f"{path} does not hold factors of the bank's layout") from None


def initial_object(store: BankStore) -> ObjectInfo:
    """The object that holds the initial adapter. Raises CorruptBankError if bank.json does not describe one."""
    fields, where = store.fields.get("initial"), store.path(BANK_FILE)
    return ObjectInfo.from_fields({"rows": 1, **fields} if isinstance(fields, dict) else None, where)


def read_initial_to_add(store: BankStore) -> tuple[str, AdapterFactors] | None:
    """Read the initial adapter of a bank with its digest, as merging needs it. None if it adds nothing to the model."""
    factors = read_initial(store)
    return None if adds_nothing(factors) else (store.fields["initial"]["sha256"], factors)


def write_warm_start(uri: str, warm: WarmStart) -> None:
    """Write a warm-up's file, whole or not at all. Raises StorageError."""
    check_factors(warm.factors, warm.layout)
    note = {
        "format": FORMAT,
        "sha256_of_factors": warm.sha256,
        "layout": warm.layout.to_json(),
        "model": warm.model,
        "made_from": dict(warm.made_from),
        "figures": dict(warm.figures),
    }
    fs, path = open_root(uri)
    with storage_errors("writing", uri):
        put_whole(fs, path, pack(warm.factors, seal(note).decode()))


def read_warm_start(uri: str) -> WarmStart | None:
    """Read a warm-up's file; None if there is no file. Raises StorageError for one that is damaged or something else."""
    fs, path = open_root(uri)
    try:
        with storage_errors("reading", uri):
            data = read(fs, path)
    except FileNotFoundError:
        return None
    try:
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        note = unseal(header["__metadata__"][NOTE].encode(), uri)
        if note["format"] != FORMAT:
            raise StorageError(
                f"{uri} has format {note['format']}, this version reads {FORMAT}; make it again with prag warmup"
            )
        layout = AdapterLayout.from_json(note["layout"])
        warm = WarmStart(unpack(data, layout), layout, note["model"], note["made_from"], note["figures"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, SafetensorError):
        raise StorageError(f"{uri} is damaged, or not a file that prag warmup wrote; make it again") from None
    if warm.sha256 != note["sha256_of_factors"]:
        raise StorageError(
            f"{uri} is damaged: its factors are not those that were written; make it again with prag warmup"
        )
    return warm


def load_warm_start(setting: str, uri: str, layout: AdapterLayout, model: str) -> WarmStart:
    """Read the warm-up's file that a setting names. Raises ConfigError if there is none, or it is of another layout or model."""
    warm = read_warm_start(uri)
    if warm is None:
        raise ConfigError(f"{setting}={uri}: no such file; prag warmup makes one")
    if warm.model != model:
        raise ConfigError(
            f"{setting}={uri}: made for another base model than model.path gives; run prag warmup with this one"
        )
    if warm.layout != layout:
        theirs, ours = _shape(warm.layout), _shape(layout)
        raise ConfigError(
            f"{setting}={uri}: it has {theirs}; training.rank, alpha and targets ask for {ours}; make them agree"
        )
    return warm


def _shape(layout: AdapterLayout) -> str:
    kinds = ", ".join(layout.target_modules)
    return f"rank {layout.rank}, alpha {layout.alpha:g}, {len(layout.modules)} modules ({kinds})"


def _parts(factors: Factors) -> dict[str, np.ndarray]:
    return {part: np.ascontiguousarray(array, dtype=np.float32) for part, array in factors._asdict().items()}
