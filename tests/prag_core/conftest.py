"""Tiny random models of every supported family, and a tiny tokenizer, built without downloads."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

FAMILIES = ("llama", "qwen2", "qwen3", "mistral")
CHAT_TEMPLATE = (
    "{% for message in messages %}<|start|>{{ message.role }}\n{{ message.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)


def build_tiny_model(family: str, dtype: torch.dtype = torch.float32, *, vocab_size: int = 64) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    auto: Any = AutoModelForCausalLM

    config = AutoConfig.for_model(
        family,
        vocab_size=vocab_size,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=4,
        max_position_embeddings=256,
        tie_word_embeddings=family != "mistral",
        initializer_range=0.3,
        **({"pad_token_id": 0} if family == "phi3" else {}),  # its own is beyond so few tokens
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = auto.from_config(config, dtype=torch.float32)
    model = auto.from_config(config, attn_implementation="sdpa", dtype=dtype)
    model.load_state_dict(drawn.state_dict())  # the same weights, rounded, in every dtype
    return model.eval().requires_grad_(False)


@pytest.fixture
def tiny_model() -> Callable[..., Any]:
    """`tiny_model(family, dtype)`: a causal LM with fixed random weights, SDPA attention, nothing trainable."""
    return build_tiny_model


@pytest.fixture
def greedy() -> Callable[..., tuple[int, ...]]:
    """`greedy(model, layout, factors, prompt, count)`: the tokens that transformers generates after a prompt with the factors
    added to the dense weights."""

    def generate(
        model: Any, layout: Any, factors: Any, prompt: tuple[int, ...], count: int
    ) -> tuple[int, ...]:
        dense = copy.deepcopy(model)
        for name, (a, b) in factors.items():
            weight = dense.get_submodule(name).weight
            weight += layout.scaling * torch.as_tensor(b).to(weight) @ torch.as_tensor(a).to(weight)
        tokens = torch.tensor([prompt])
        options = {
            "do_sample": False,
            "max_new_tokens": count,
            "min_new_tokens": count,
            "pad_token_id": 0,
            "eos_token_id": None,
        }
        return tuple(
            dense.generate(tokens, attention_mask=torch.ones_like(tokens), **options)[
                0, len(prompt) :
            ].tolist()
        )

    return generate


@pytest.fixture(scope="session")
def tiny_tokenizer() -> Any:
    """A byte-level tokenizer (one token a byte, 259 in all) with a chat template of its own."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={symbol: i for i, symbol in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast: Any = PreTrainedTokenizerFast
    wrapped = fast(tokenizer_object=tokenizer, pad_token="<|pad|>")
    wrapped.add_special_tokens({"additional_special_tokens": ["<|start|>", "<|end|>"]})
    wrapped.chat_template = CHAT_TEMPLATE
    return wrapped
