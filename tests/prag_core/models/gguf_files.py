"""Small GGUF files, written by the gguf package from a tiny random Llama and the tokenizer of GPT-2's style."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch

from tests.prag_core.models.tokenizers import gpt2_style

NAMES = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


@cache
def chat_tokenizer() -> Any:
    return gpt2_style()


def tiny_llama(**fields: Any) -> Any:
    """A random Llama for that tokenizer, whose rows are long enough for every simple quantisation."""
    from transformers import LlamaConfig, LlamaForCausalLM

    made: Any = LlamaConfig
    config = made(
        **{"tie_word_embeddings": True, **fields},
        vocab_size=len(chat_tokenizer()),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.3,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LlamaForCausalLM(config).eval().requires_grad_(False)


def write_gguf(
    path: Path,
    model: Any,
    *,
    kind: str = "F32",
    architecture: str = "llama",
    template: bool = True,
    fields: Mapping[str, Any] | None = None,
    tensors: Mapping[str, np.ndarray] | None = None,
    without: str = "",
) -> Path:
    """Write a Llama as llama.cpp's converter does: projections of queries and keys permuted, matrices of type `kind`. `fields`
    and `tensors` come in addition, the tensor `without` is left out."""
    config, tokenizer = model.config, chat_tokenizer()
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(config.head_dim)
    _add_tokenizer(writer, tokenizer, template=template)
    for name, value in (fields or {}).items():
        add = writer.add_string if isinstance(value, str) else writer.add_float32
        (writer.add_uint16 if isinstance(value, int) else add)(name, value)
    for name, weight in _tensors(model):
        if name != without:
            _add_tensor(writer, name, weight, "F32" if weight.ndim == 1 else kind)
    for name, weight in (tensors or {}).items():
        _add_tensor(writer, name, weight, "F32")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def as_stored(model: Any, kind: str) -> Any:
    """The same model with the weights that a file of matrices of type `kind` gives in bf16. Its projections of queries and keys
    are quantised in rows, which no permutation of rows changes."""
    quantisation = gguf.GGMLQuantizationType[kind]
    for weight in model.parameters():
        if weight.ndim == 2:
            blocks = gguf.quantize(weight.numpy(), quantisation)
            weight.copy_(torch.from_numpy(gguf.dequantize(blocks, quantisation).copy()))
        weight.copy_(weight.to(torch.bfloat16).float())
    return model


def _add_tokenizer(writer: Any, tokenizer: Any, *, template: bool) -> None:
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    special = dict.fromkeys(tokenizer.all_special_tokens, gguf.TokenType.CONTROL)
    added = dict.fromkeys(tokenizer.get_added_vocab(), gguf.TokenType.USER_DEFINED)
    kinds = added | special
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types([kinds.get(token, gguf.TokenType.NORMAL) for token in tokens])
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    writer.add_token_merges([" ".join(merge) for merge in merges])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    if template:
        writer.add_chat_template(tokenizer.chat_template)


def _add_tensor(writer: Any, name: str, weight: np.ndarray, kind: str) -> None:
    quantisation = gguf.GGMLQuantizationType[kind]
    writer.add_tensor(name, gguf.quantize(weight.astype(np.float32), quantisation), raw_dtype=quantisation)


def _tensors(model: Any) -> list[tuple[str, np.ndarray]]:
    """Tensors by llama.cpp's names."""
    heads = {"attn_q": model.config.num_attention_heads, "attn_k": model.config.num_key_value_heads}
    whole = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    found = []
    for full, weight in model.named_parameters():
        name, values = full.removesuffix(".weight"), weight.numpy()
        if name in whole:
            found.append((f"{whole[name]}.weight", values))
            continue
        layer, _, rest = name.removeprefix("model.layers.").partition(".")
        kind = NAMES[rest]
        if kind in heads:
            rows, columns = values.shape
            halves = values.reshape(heads[kind], 2, rows // heads[kind] // 2, columns)
            values = halves.swapaxes(1, 2).reshape(rows, columns)
        found.append((f"blk.{layer}.{kind}.weight", values))
    return found
