"""The way that float32 matrix products are fastest on a CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def fast_float32(device: torch.device) -> Iterator[None]:
    """Give float32 matrix products on a CPU to oneDNN while open: on AMD processors it is twice as fast as MKL.

    The switch is torch's precision "medium", which allows bf16 inside the product: oneDNN does so with AMX tiles alone, so
    processors that have them, and GPUs, are left as they are. Elsewhere results are float32 as before.
    """
    precision = torch.get_float32_matmul_precision()
    # private: torch has no public question for AMX
    exact = device.type == "cpu" and not torch.cpu._is_amx_tile_supported()
    if exact and torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(precision)
