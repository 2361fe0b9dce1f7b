"""How a GGUF file scales rotary positions, as fields of transformers' config: transformers itself reads nothing of it.

Llama 3.1 and its kin carry a divisor for each frequency (the tensor `rope_freqs.weight`) in place of the numbers that it was
computed from; these are found again and the divisors compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from prag_core.errors import ModelError
from prag_core.models.gguf_header import GgufFile

DIVISORS = ("rope_freqs.weight", "rope_factors_long.weight")  # tensors, of Llama 3 and of Phi 3
LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}


def scaled_positions(source: GgufFile, plain: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config's `rope_parameters` with the file's scaling added to `plain`, those that transformers read.

    Raises ModelError for a scaling that is none of linear, yarn and Llama 3's."""
    kind = source.field(f"{source.architecture}.rope.scaling.type") or "none"
    divisors = next((t for t in source.reader.tensors if t.name in DIVISORS), None)
    read_already = plain.get("rope_type", "default") != "default"
    if read_already or (kind == "none" and divisors is None):
        return dict(plain)
    if "rope_theta" in plain:  # the same for all layers
        if divisors is not None and divisors.name == DIVISORS[0]:
            scaled = _llama3(np.asarray(divisors.data, np.float64), float(plain["rope_theta"]))
        else:
            scaled = _scaled(source, kind)
        if scaled:
            return {**plain, **scaled}
    raise ModelError(
        f"model.path={source.path}: its scaling of rotary positions ({kind if divisors is None else divisors.name}) "
        "cannot be carried over; give the model as a folder or by its name on the hub"
    )


def llama3_divisors(theta: float, count: int, factor: float) -> np.ndarray:
    """What Llama 3 divides each of `count` rotary frequencies (of base `theta`) by (Llama 3.1's reference code)."""
    length, low, high = (
        LLAMA3[name] for name in ("original_max_position_embeddings", "low_freq_factor", "high_freq_factor")
    )
    wavelengths = 2 * np.pi * theta ** (np.arange(count) / count)
    smooth = np.clip((length / wavelengths - low) / (high - low), 0, 1)
    return np.asarray(1 / ((1 - smooth) / factor + smooth))


def _llama3(divisors: np.ndarray, theta: float) -> dict[str, Any]:
    factor = float(divisors.max())
    if not np.allclose(divisors, llama3_divisors(theta, len(divisors), factor), rtol=1e-4):
        return {}
    return {"rope_type": "llama3", "factor": factor, **LLAMA3}


def _scaled(source: GgufFile, kind: str) -> dict[str, Any]:
    start = f"{source.architecture}.rope.scaling"
    factor, length = source.field(f"{start}.factor"), source.field(f"{start}.original_context_length")
    if kind == "linear" and factor:
        return {"rope_type": "linear", "factor": float(factor)}
    if kind == "yarn" and factor and length:
        bounds = {name: source.field(f"{start}.yarn_{name}") for name in ("beta_fast", "beta_slow")}
        return {
            "rope_type": "yarn",
            "factor": float(factor),
            "original_max_position_embeddings": int(length),
            **{name: float(value) for name, value in bounds.items() if value is not None},
        }
    return {}
