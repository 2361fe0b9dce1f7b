"""A GGUF file's folder has the file's weights, tokens and chat template, to the bit, or there is no folder and a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig

from prag_core.errors import ModelError
from prag_core.models.base_model import load_base_model
from prag_core.models.source import local_model, model_digest
from prag_core.training.trainable import check_loss, check_trainable
from tests.prag_core.models.gguf_files import as_stored, chat_tokenizer, tiny_llama, write_gguf

TOKENS = torch.tensor([[3, 14, 15, 92, 65]])
TEXT = "The river Eltis is 718 km long.\n\n<|im_end|> ሰላም 👩‍🚀"


@pytest.mark.parametrize("kind", ["F32", "F16", "Q8_0", "Q4_0", "Q5_1"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_weights_are_the_dequantised_ones_in_bf16(tmp_path: Path, kind: str, tied: bool) -> None:
    model = tiny_llama(tie_word_embeddings=tied)
    file = write_gguf(tmp_path / "model.gguf", model, kind=kind)
    loaded, _ = load_base_model(str(file))
    assert torch.equal(loaded(input_ids=TOKENS).logits, as_stored(model, kind)(input_ids=TOKENS).logits)
    check_trainable(loaded, str(file))
    check_loss(loaded)


def test_tokens_and_prompts_are_those_of_the_tokenizer_in_the_file(tmp_path: Path) -> None:
    _, tokenizer = load_base_model(str(write_gguf(tmp_path / "model.gguf", tiny_llama())))
    messages: Any = [{"role": "user", "content": TEXT}]
    assert tokenizer.is_fast
    assert tokenizer.encode(TEXT) == chat_tokenizer().encode(TEXT)
    assert tokenizer.decode(tokenizer.encode(TEXT)) == TEXT
    assert tokenizer.eos_token == chat_tokenizer().eos_token
    options: Any = {"add_generation_prompt": True, "tokenize": False}
    assert tokenizer.apply_chat_template(messages, **options) == chat_tokenizer().apply_chat_template(
        messages, **options
    )


def test_the_same_file_gives_the_same_bytes_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = write_gguf(tmp_path / "here.gguf", tiny_llama())
    first = model_digest(str(here))
    monkeypatch.setenv("PRAG_MODELS", str(tmp_path / "elsewhere"))
    there = here.rename(tmp_path / "there.GGUF")
    assert model_digest(str(there)) == model_digest(local_model(str(there))) == first


def test_files_that_lie_beside_it_change_nothing(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "model.gguf", tiny_llama())
    for name in ("tokenizer_config.json", "config.json", "chat_template.jinja", "tokenizer.json"):
        (tmp_path / name).write_text("{")
    _, tokenizer = load_base_model(str(file))
    assert tokenizer.chat_template == chat_tokenizer().chat_template


def test_a_config_says_nothing_of_where_and_with_what_it_was_made(tmp_path: Path) -> None:
    folder = Path(local_model(str(write_gguf(tmp_path / "model.gguf", tiny_llama()))))
    text = (folder / "config.json").read_text() + (folder / "tokenizer_config.json").read_text()
    assert "transformers_version" not in text and str(tmp_path) not in text
    assert not hasattr(AutoConfig.from_pretrained(folder), "quantization_config")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"architecture": "rwkv6"}, "architecture rwkv6.*not supported"),
        ({"without": "blk.1.ffn_up.weight"}, r"lacks 1 tensors \(model.layers.1.mlp.up_proj.weight"),
        ({"fields": {"tokenizer.ggml.model": "plamo2"}}, "tokenizer.*plamo2"),
    ],
    ids=["architecture", "tensor", "tokenizer"],
)
def test_what_transformers_cannot_read_is_refused_with_its_reason(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    file = write_gguf(tmp_path / "model.gguf", tiny_llama(), **changes)
    with pytest.raises(ModelError, match=rf"model\.path={file}: .*{said}") as caught:
        local_model(str(file))
    assert "\n" not in str(caught.value)
