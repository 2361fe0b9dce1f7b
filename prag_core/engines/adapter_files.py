"""Merged adapters as files in memory: the public way to hand tensors to vLLM."""

from __future__ import annotations

import os
from pathlib import Path

from prag_core.merging import MergedAdapter
from prag_core.models.peft_folder import write_peft_folder

RAM = Path("/dev/shm")


def write_peft(adapter: MergedAdapter, folder: Path) -> None:
    """Write the adapter as a PEFT folder, with alpha = rank: the scaling is in its factors."""
    write_peft_folder(folder, adapter.factors, rank=adapter.rank, alpha=adapter.rank)


def ram_folder() -> str | None:
    """The folder whose files are memory; None (the default temporary folder) on a system without one."""
    return str(RAM) if RAM.is_dir() and os.access(RAM, os.W_OK) else None
