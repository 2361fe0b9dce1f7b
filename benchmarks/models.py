"""The base models of the benchmarks: the miniature model, and the shapes of three real ones with random weights."""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.documents import MINI
from prag_core.config.schema import Dtype
from prag_core.models.base_model import TORCH_DTYPES, load_base_model

SHAPES: dict[str, dict[str, Any]] = {
    "llama-3.2-1b": {
        "model_type": "llama",
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 64,
        "vocab_size": 128256,
    },
    "qwen2.5-1.5b": {
        "model_type": "qwen2",
        "hidden_size": 1536,
        "intermediate_size": 8960,
        "num_hidden_layers": 28,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
        "vocab_size": 151936,
    },
    "smollm2-135m": {
        "model_type": "llama",
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "vocab_size": 49152,
    },
}
MODELS = ("mini", *SHAPES)


def load(name: str, dtype: Dtype, device: torch.device) -> tuple[Any, Any]:
    """Load a model and its tokenizer; a shape has no tokenizer and trains on random token ids."""
    if name == "mini":
        base = load_base_model(str(MINI / "model"), dtype, device)
        return base.model, base.tokenizer
    # slow to import, and only needed for shapes
    from transformers import AutoConfig, AutoModelForCausalLM

    shape = dict(SHAPES[name])
    auto: Any = AutoModelForCausalLM
    config = AutoConfig.for_model(
        shape.pop("model_type"), max_position_embeddings=8192, tie_word_embeddings=True, **shape
    )
    torch.manual_seed(0)
    with device:
        model = auto.from_config(config, dtype=TORCH_DTYPES[dtype], attn_implementation="sdpa")
    return model.eval().requires_grad_(False), None


def flop_per_token(model: Any) -> int:
    """Return the FLOP of training on one token: 2·P forward, 2·P for the gradients of activations.

    Attention's own products, adapters and the optimiser are not counted; neither is an embedding that is only looked up.
    """
    counted = sum(parameter.numel() for parameter in model.parameters())
    head = model.get_output_embeddings()
    if head.weight is not model.get_input_embeddings().weight:
        counted -= model.get_input_embeddings().weight.numel()
    return 4 * counted
