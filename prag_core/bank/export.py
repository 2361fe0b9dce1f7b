"""Adapters as PEFT folders: what `PeftModel.from_pretrained(base, folder)` loads, giving the logits the bank's adapter gives."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors.numpy import save

from prag_core.bank.reader import AdapterReader
from prag_core.errors import StorageError
from prag_core.models.lora import AdapterLayout
from prag_core.records import AdapterFactors, Key
from prag_core.storage import storage_errors

if TYPE_CHECKING:
    from prag_core.bank.bank import Bank


def export_adapter(bank: Bank, key: Key, out_dir: str | Path, base_model: str | None = None) -> Path:
    """Write one document's adapter. Raises BankError if the newest snapshot has none, StorageError if the folder has files."""
    _check_free(Path(out_dir))
    return _write(
        AdapterReader(bank, bank.require_snapshot()).fetch([key])[key], bank.layout, Path(out_dir), base_model
    )


def export_initial(bank: Bank, out_dir: str | Path, base_model: str | None = None) -> Path:
    """Write the adapter every document started from."""
    _check_free(Path(out_dir))
    return _write(bank.initial_factors(), bank.layout, Path(out_dir), base_model)


def peft_config(layout: AdapterLayout, base_model: str | None = None) -> dict[str, object]:
    """The adapter_config.json of a layout."""
    targets = sorted({module.name.rsplit(".", 1)[-1] for module in layout.modules})
    alpha = int(layout.alpha) if float(layout.alpha).is_integer() else layout.alpha
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_model,
        "inference_mode": True,
        "r": layout.rank,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": targets,
        "fan_in_fan_out": False,
        "use_rslora": False,
        "use_dora": False,
    }


def peft_tensors(factors: AdapterFactors) -> dict[str, np.ndarray]:
    """Factors under the names PEFT saves them by."""
    return {
        f"base_model.model.{name}.lora_{part.upper()}.weight": np.ascontiguousarray(array, dtype=np.float32)
        for name, pair in factors.items()
        for part, array in pair._asdict().items()
    }


def _check_free(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StorageError(
            f"{folder} exists and is not an empty folder; choose another, nothing is overwritten"
        )


def _write(factors: AdapterFactors, layout: AdapterLayout, folder: Path, base_model: str | None) -> Path:
    """Built beside and renamed, so that a folder is whole or not there."""
    temporary = folder.with_name(f".{folder.name}-{uuid.uuid4().hex[:8]}")
    with storage_errors("writing", str(folder)):
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        config = json.dumps(peft_config(layout, base_model), indent=2, sort_keys=True)
        (temporary / "adapter_config.json").write_text(config + "\n", encoding="utf-8")
        (temporary / "adapter_model.safetensors").write_bytes(save(peft_tensors(factors), {"format": "pt"}))
        temporary.rename(folder)  # over an empty folder too
    return folder
