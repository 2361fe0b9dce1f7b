"""Refuse base models that adapters cannot be trained on.

The objectives make logits from hidden states by the output head alone, and adapters lie over plain weights. A model that scales
or caps its logits, or whose weights are quantised, would be trained on another loss than its own, or not at all.
`check_trainable` finds that from the model's config, before any work; `check_loss` compares both losses once weights are loaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from prag_core.errors import ModelError
from prag_core.records import Sample
from prag_core.training.objectives import collate, next_token

QUANTISED_FILES = ("quantize_config.json", "quant_config.json")  # of GPTQ and AWQ, before config.json said so
TOLERANCE = {torch.bfloat16: 2e-2}  # of a loss, as a share of it
OTHERWISE = 1e-3


def check_trainable(model: Any, path: str) -> None:
    """Raise ModelError unless a model's weights are plain and its logits are its output head's. `model` may be empty."""
    quantised = getattr(model.config, "quantization_config", None)
    if quantised is not None or any(Path(path, name).exists() for name in QUANTISED_FILES):
        method = dict(quantised or {}).get("quant_method", "quantised")
        raise ModelError(
            f"model.path={path}: its weights are quantised ({method}), and adapters are trained over plain ones; "
            "give the model that these weights were made from"
        )
    if _changes_logits(model):
        raise ModelError(
            f"model.path={path}: {type(model).__name__} scales or caps its logits after the output head, which training does "
            "not; use a Llama, Qwen or Mistral model"
        )


def check_loss(model: Any) -> None:
    """Raise ModelError unless our loss of a short batch is the loaded model's own."""
    device, vocabulary = next(model.parameters()).device, model.get_output_embeddings().weight.shape[0]
    drawn = torch.randint(vocabulary, (2, 16), generator=torch.Generator().manual_seed(0))
    samples = [Sample(tuple(row), tuple(row)) for row in drawn.tolist()]
    with torch.no_grad():
        ours = next_token(model, collate(samples, device)).mean().item()
        tokens = drawn.to(device)
        theirs = model(input_ids=tokens, labels=tokens, use_cache=False).loss.item()
    if not abs(ours - theirs) <= TOLERANCE.get(next(model.parameters()).dtype, OTHERWISE) * abs(theirs):
        raise ModelError(
            f"{type(model).__name__}: on a short text the training loss is {ours:.4f}, the model's own is {theirs:.4f}; "
            "training would optimise another loss, so use a Llama, Qwen or Mistral model"
        )


class _BodyOutput:
    """What a model's body gives its head: hidden states, and None for everything else that a family may ask for."""

    def __init__(self, states_ntd: Tensor) -> None:
        self.last_hidden_state = states_ntd

    def __getattr__(self, name: str) -> None:
        return None

    def __getitem__(self, index: int) -> Tensor:
        return self.last_hidden_state


def _changes_logits(model: Any) -> bool:
    """Whether the model's forward pass does more to hidden states than a small head in the place of its own. No weights are read:
    the body is stood in for."""
    head, body = model.get_output_embeddings(), model.base_model
    generator = torch.Generator().manual_seed(0)
    small = torch.nn.Linear(head.in_features, 8, bias=False)
    states_ntd = torch.randn(1, 4, head.in_features, generator=generator)
    small.weight.data = torch.randn(8, head.in_features, generator=generator)
    model.set_output_embeddings(small)
    body.__dict__["forward"] = lambda *_, **__: _BodyOutput(states_ntd)
    try:
        with torch.no_grad():
            given = model(input_ids=torch.zeros(1, 4, dtype=torch.long), use_cache=False).logits
        return not torch.allclose(given, small(states_ntd), rtol=1e-4)
    except Exception:
        return False  # the family makes its logits in another way: `check_loss` says whether it is the same
    finally:
        del body.__dict__["forward"]
        model.set_output_embeddings(head)
