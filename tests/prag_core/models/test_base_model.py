"""A base model loads whole or not at all, and the message says what is missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from prag_core.config.schema import Dtype
from prag_core.errors import ModelError
from prag_core.models.base_model import context_length, load_base_model, load_tokenizer

TOKENS = torch.tensor([[3, 14, 15, 9]])


@pytest.fixture
def folder(tmp_path: Path, tiny_model: Callable[..., Any], tiny_tokenizer: Any) -> Path:
    tiny_model("mistral", vocab_size=300).save_pretrained(tmp_path)
    tiny_tokenizer.save_pretrained(tmp_path)
    return tmp_path


def test_model_and_tokenizer_come_back_frozen_and_in_evaluation_mode(
    folder: Path, tiny_model: Callable[..., Any], tiny_tokenizer: Any
) -> None:
    model, tokenizer = load_base_model(str(folder))
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert model.config._attn_implementation == "sdpa"
    assert torch.equal(
        model(input_ids=TOKENS).logits, tiny_model("mistral", vocab_size=300)(input_ids=TOKENS).logits
    )
    assert tokenizer.encode("Ada") == tiny_tokenizer.encode("Ada")
    assert context_length(model) == 256
    assert context_length(model, 100) == 100
    assert context_length(model, 1000) == 256


@pytest.mark.parametrize(
    ("dtype", "expected"), [(Dtype.float64, torch.float64), (Dtype.bfloat16, torch.bfloat16)]
)
def test_the_dtype_asked_for_is_the_models(folder: Path, dtype: Dtype, expected: torch.dtype) -> None:
    model, _ = load_base_model(str(folder), dtype)
    assert {parameter.dtype for parameter in model.parameters()} == {expected}


def delete(*patterns: str) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        for pattern in patterns:
            for file in folder.glob(pattern):
                file.unlink()

    return apply


def drop_a_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def cut_the_weights(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def break_the_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (delete("tokenizer*", "special*"), "no tokenizer"),
        (delete("chat_template*"), "no chat template"),
        (delete("*.safetensors"), "weights cannot be loaded"),
        (delete("config.json"), "cannot be loaded"),
        (drop_a_tensor, r"lack 1 tensors \(model.layers.1.mlp.up_proj.weight"),
        (cut_the_weights, "weights cannot be loaded"),
        (break_the_tokenizer, "tokenizer cannot be loaded"),
    ],
)
def test_an_incomplete_folder_is_refused_with_its_reason(
    folder: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(folder)
    with pytest.raises(ModelError, match=rf"(?s)model\.path={folder}: .*{message}") as caught:
        load_base_model(str(folder))
    assert "\n" not in str(caught.value)


def test_a_missing_folder_is_named() -> None:
    with pytest.raises(ModelError, match=r"model\.path=\./none: no such folder"):
        load_base_model("./none")
    with pytest.raises(ModelError, match=r"model\.path=a/b/c: no such folder"):
        load_tokenizer("a/b/c")


def test_a_tokenizer_of_another_model_is_refused(
    tmp_path: Path, tiny_model: Callable[..., Any], tiny_tokenizer: Any
) -> None:
    tiny_model("llama", vocab_size=64).save_pretrained(tmp_path)
    tiny_tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"259 tokens.* 64"):
        load_base_model(str(tmp_path))
