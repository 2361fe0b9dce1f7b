"""Adapters in PEFT's file format: what `PeftModel.from_pretrained(base, folder)` and vLLM load.

Written here and not by PEFT, whose `save_pretrained` needs the model with the adapter in it.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from prag_core.models.lora import target_modules
from prag_core.records import AdapterFactors

CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"


def write_peft_folder(
    folder: Path, factors: AdapterFactors, *, rank: int, alpha: float, base_model: str | None = None
) -> None:
    """Write `factors`, float32, into a new folder. Raises FileExistsError, and OSError where nothing can be written."""
    folder.mkdir()
    config = peft_config(factors, rank=rank, alpha=alpha, base_model=base_model)
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    (folder / CONFIG_FILE).write_text(text, encoding="utf-8")
    (folder / WEIGHTS_FILE).write_bytes(save(peft_tensors(factors), {"format": "pt"}))


def peft_config(
    factors: AdapterFactors, *, rank: int, alpha: float, base_model: str | None = None
) -> dict[str, object]:
    """Make the fields of adapter_config.json."""
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_model,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": int(alpha) if float(alpha).is_integer() else alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": target_modules(factors),
        "fan_in_fan_out": False,
        "use_rslora": False,
        "use_dora": False,
    }


def peft_tensors(factors: AdapterFactors) -> dict[str, np.ndarray]:
    """Give the factors PEFT's names."""
    return {
        f"base_model.model.{name}.lora_{part.upper()}.weight": np.ascontiguousarray(array, dtype=np.float32)
        for name, pair in factors.items()
        for part, array in pair._asdict().items()
    }
