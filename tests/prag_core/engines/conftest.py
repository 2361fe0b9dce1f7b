"""A tiny random Llama with a byte tokenizer and chat template, as a Hugging Face folder: real files, nothing downloaded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from prag_core.config.schema import Dtype, EngineConfig, EngineKind, ModelConfig
from prag_core.engines.base import Engine
from prag_core.engines.load import make_engine
from prag_core.merging import MergedAdapter, merge_cat
from prag_core.models.lora import AdapterLayout, layout_of
from prag_core.records import AdapterFactors, Factors

CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIALS = ["<|im_start|>", "<|im_end|>", "<|pad|>"]
TARGETS = ("gate_proj", "up_proj", "down_proj")
OPINIONS = {
    "do_sample": True,
    "temperature": 0.6,
    "top_k": 3,
    "top_p": 0.5,
    "repetition_penalty": 5.0,
    "no_repeat_ngram_size": 1,
    "suppress_tokens": list(range(100)),
    "num_beams": 2,
    "min_new_tokens": 20,
    "max_new_tokens": 2,
}
RANK, ALPHA, MAX_LENGTH = 2, 32.0, 2048


def byte_tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {
        piece: i for i, piece in enumerate([*sorted(pre_tokenizers.ByteLevel.alphabet()), *SPECIALS])
    }
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|pad|>",
        additional_special_tokens=SPECIALS[:1],
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a two-layer random Llama whose greedy texts are long and differ by prompt."""
    torch.manual_seed(0)
    tokenizer = byte_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        max_position_embeddings=MAX_LENGTH,
        tie_word_embeddings=False,
        initializer_range=0.2,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    folder = tmp_path_factory.mktemp("models") / "tiny"
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def opinionated_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model, whose authors would have it sampled, penalised and searched with beams."""
    folder = tmp_path_factory.mktemp("models") / "opinionated"
    shutil.copytree(tiny_model, folder)
    own = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps(own | OPINIONS))
    return folder


@pytest.fixture(scope="session")
def layout(tiny_model: Path) -> AdapterLayout:
    return layout_of(LlamaForCausalLM.from_pretrained(tiny_model), rank=RANK, alpha=ALPHA, targets=TARGETS)


def random_factors(layout: AdapterLayout, seed: int, size: float = 0.1) -> AdapterFactors:
    """Factors big enough that the adapter changes what a random model says."""
    random = np.random.default_rng(seed)
    return {
        name: Factors(
            random.normal(0, size, shape_a).astype(np.float32),
            random.normal(0, size, shape_b).astype(np.float32),
        )
        for name, shape_a, shape_b in layout.shapes()
    }


@pytest.fixture(scope="session")
def draw(layout: AdapterLayout) -> Callable[[int], AdapterFactors]:
    """One document's random factors, by seed."""
    return lambda seed: random_factors(layout, seed)


@pytest.fixture(scope="session")
def merged(layout: AdapterLayout) -> Callable[..., MergedAdapter]:
    """The exact sum of random adapters, one a seed."""
    return lambda *seeds: merge_cat(
        [(f"version-{seed}", random_factors(layout, seed)) for seed in seeds], layout
    )


def start(kind: EngineKind, model: Path, layout: AdapterLayout) -> Engine:
    config = EngineConfig(kind=kind, dtype=Dtype.float32, max_sequences=2)
    return make_engine(config, ModelConfig(str(model)), layout=layout, max_merged_rank=3 * RANK)


@pytest.fixture(scope="session")
def oracle(tiny_model: Path, layout: AdapterLayout) -> Engine:
    return start(EngineKind.transformers, tiny_model, layout)


@pytest.fixture(scope="session")
def vllm_engine(tiny_model: Path, layout: AdapterLayout) -> Iterator[Engine]:
    engine = start(EngineKind.vllm, tiny_model, layout)
    yield engine
    engine.close()


@pytest.fixture(params=["transformers", pytest.param("vllm", marks=pytest.mark.slow)])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Either engine: what a test asks of it is the protocol's promise."""
    fixture = {"transformers": "oracle", "vllm": "vllm_engine"}[request.param]
    return request.getfixturevalue(fixture)
