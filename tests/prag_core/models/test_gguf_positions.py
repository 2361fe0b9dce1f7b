"""Rotary positions are scaled as the file says; transformers' own loader reads nothing of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from prag_core.errors import ModelError
from prag_core.models.base_model import load_base_model
from tests.prag_core.models.gguf_files import as_stored, tiny_llama, write_gguf

THETA = 500_000.0
TOKENS = torch.arange(200)[None] % 90
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
SCALING = {f"llama.rope.scaling.{name}": value for name, value in (("type", "yarn"), ("factor", 4.0))}


def frequencies(model: Any) -> np.ndarray:
    return np.asarray(model.model.rotary_emb.inv_freq.double())


def of_llama3() -> tuple[Any, dict[str, Any]]:
    """A model and what llama.cpp's converter writes of its positions: the divisors of the frequencies."""
    scaled = tiny_llama(head_dim=64, rope_parameters={"rope_theta": THETA, **LLAMA3})
    plain = tiny_llama(head_dim=64, rope_parameters={"rope_theta": THETA, "rope_type": "default"})
    return scaled, {"tensors": {"rope_freqs.weight": frequencies(plain) / frequencies(scaled)}}


def of_linear() -> tuple[Any, dict[str, Any]]:
    scaled = tiny_llama(rope_parameters={"rope_theta": THETA, "rope_type": "linear", "factor": 2.0})
    return scaled, {"fields": {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 2.0}}


def of_yarn() -> tuple[Any, dict[str, Any]]:
    scaled = tiny_llama(rope_parameters={"rope_theta": THETA, **YARN})
    return scaled, {"fields": {**SCALING, "llama.rope.scaling.original_context_length": 64}}


@pytest.mark.parametrize("case", [of_llama3, of_linear, of_yarn])
def test_a_scaled_models_file_gives_its_logits_far_into_the_context(tmp_path: Path, case: Any) -> None:
    model, changes = case()
    loaded, _ = load_base_model(str(write_gguf(tmp_path / "model.gguf", model, **changes)))
    assert torch.allclose(
        loaded(input_ids=TOKENS).logits, as_stored(model, "F32")(input_ids=TOKENS).logits, atol=1e-4
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fields": {"llama.rope.scaling.type": "longrope"}}, "longrope"),
        ({"fields": SCALING}, "yarn"),
        ({"tensors": {"rope_freqs.weight": np.linspace(1, 3, 8)}}, "rope_freqs.weight"),
    ],
    ids=["unknown", "half said", "other divisors"],
)
def test_a_scaling_that_cannot_be_carried_over_is_refused(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    file = write_gguf(tmp_path / "model.gguf", tiny_llama(), **changes)
    with pytest.raises(ModelError, match=rf"rotary positions \({said}\) cannot be carried over"):
        load_base_model(str(file))
