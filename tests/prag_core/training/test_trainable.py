"""What cannot be trained is refused: from a config alone before any work, and by the model's own loss once it is loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from prag_core.errors import ModelError
from prag_core.training.trainable import check_loss, check_trainable

SHAPE = {
    "vocab_size": 64,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
}
CHANGING: dict[str, dict[str, Any]] = {  # families, with what changes their logits
    "gemma2": {"final_logit_softcapping": 3.0},
    "granite": {"logits_scaling": 8.0},
    "cohere": {"logit_scale": 0.0625},
    "hyperclovax": {"logits_scaling": 8.0},
    "falcon_h1": {"lm_head_multiplier": 0.1, "mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8},
}
PLAIN: dict[
    str, dict[str, Any]
] = {  # the same code paths, where they change nothing, and families that have none
    "granite": {"logits_scaling": 1.0},
    "cohere": {"logit_scale": 1.0},
    "gemma2": {"final_logit_softcapping": None},
    "gemma": {},
    "phi3": {},
    "qwen3_moe": {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 8},
}


def drawn(family: str, dtype: torch.dtype = torch.float32, **fields: Any) -> Any:
    """A tiny random model whose logits are far from even."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(family, **(SHAPE | {"initializer_range": 0.5} | fields))
    auto: Any = AutoModelForCausalLM
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return auto.from_config(config, attn_implementation="sdpa", dtype=dtype).eval().requires_grad_(False)


def empty(family: str, **fields: Any) -> Any:
    with torch.device("meta"):
        return drawn(family, **fields)


@pytest.mark.parametrize("family", CHANGING)
def test_a_model_whose_own_loss_is_another_is_refused_with_both_numbers(family: str) -> None:
    with pytest.raises(ModelError, match=r"training loss is \d+\.\d+, the model's own is \d+\.\d+"):
        check_loss(drawn(family, **CHANGING[family]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "mistral"])
def test_supported_families_have_the_loss_that_they_are_trained_on(
    tiny_model: Callable[..., Any], family: str, dtype: torch.dtype
) -> None:
    check_loss(tiny_model(family, dtype))


@pytest.mark.parametrize("family", PLAIN)
def test_what_changes_no_logits_is_trained(family: str) -> None:
    check_loss(drawn(family, **PLAIN[family]))
    check_trainable(empty(family, **PLAIN[family]), "model")


@pytest.mark.parametrize("family", CHANGING)
def test_a_model_that_changes_its_logits_is_refused_from_its_config_alone(family: str) -> None:
    with pytest.raises(ModelError, match=r"model\.path=here: .* scales or caps its logits"):
        check_trainable(empty(family, **CHANGING[family]), "here")


def test_looking_at_a_model_leaves_it_as_it_was(tiny_model: Callable[..., Any]) -> None:
    model, tokens = tiny_model("llama"), torch.tensor([[3, 14, 15, 9]])
    logits, head = model(input_ids=tokens).logits, model.lm_head
    check_trainable(model, "model")
    assert model.lm_head is head and torch.equal(model(input_ids=tokens).logits, logits)


@pytest.mark.parametrize("method", ["awq", "gptq", "fp8"])
def test_quantised_weights_are_refused_from_the_config_alone(method: str) -> None:
    model = empty("llama")
    model.config.quantization_config = {"quant_method": method, "bits": 4}
    with pytest.raises(ModelError, match=rf"model\.path=here: its weights are quantised \({method}\)"):
        check_trainable(model, "here")


def test_quantised_weights_whose_config_does_not_say_so_are_refused_by_their_own_file(tmp_path: Path) -> None:
    (tmp_path / "quantize_config.json").write_text("{}")
    with pytest.raises(ModelError, match="quantised"):
        check_trainable(empty("llama"), str(tmp_path))
