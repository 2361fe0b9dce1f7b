"""A GGUF file dequantised into a model folder by transformers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch

from prag_core.errors import ModelError
from prag_core.models.gguf_header import OTHERWISE, GgufFile, first_line
from prag_core.models.gguf_positions import scaled_positions

# what of a config names the place or the time at which it was written, not the model
INCIDENTAL = ("transformers_version", "_name_or_path", "_model_name_or_path")


def save_as_folder(source: GgufFile, folder: Path) -> None:
    """Write bf16 safetensors, config, tokenizer and chat template into an empty folder. The same file gives the same bytes.

    Raises ModelError where transformers cannot read the file; errors of writing stay what they are."""
    model, tokenizer = _load(source, folder)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _edit(folder / "config.json", lambda fields: {k: v for k, v in fields.items() if k not in INCIDENTAL})
    _edit(folder / "tokenizer.json", partial(_own_tokens, source.num_tokens))


def _edit(file: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    fields = change(json.loads(file.read_text()))
    file.write_text(json.dumps(fields, indent=2, ensure_ascii=False) + "\n")


def _own_tokens(count: int, fields: dict[str, Any]) -> dict[str, Any]:
    """A tokenizer without what transformers adds to the `count` tokens of the file: the model has no embedding of it."""
    return fields | {"added_tokens": [token for token in fields["added_tokens"] if token["id"] < count]}


def _load(source: GgufFile, folder: Path) -> tuple[Any, Any]:
    """Model and tokenizer, the model without a trace of its quantisation. `folder` is empty, and empty again afterwards."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GgufConfig  # slow to import

    # alone in a folder: transformers would prefer tokenizer files that lie beside it
    link = folder / "model.gguf"
    link.symlink_to(source.file.resolve())
    place: dict[str, Any] = {"gguf_file": link.name}
    auto: Any = AutoModelForCausalLM
    try:
        with _reading(source, f"architecture {source.architecture}"):
            config = AutoConfig.from_pretrained(str(folder), **place)
        with _reading(source, "tokenizer"):
            tokenizer = AutoTokenizer.from_pretrained(str(folder), **place)
        with _reading(source, "weights"):
            loaded, report = auto.from_pretrained(
                str(folder),
                **place,
                dtype=torch.bfloat16,
                quantization_config=GgufConfig(dequantize=True),
                output_loading_info=True,
            )
    finally:
        link.unlink()
    if missing := sorted(report["missing_keys"]):
        raise ModelError(
            f"model.path={source.path}: incomplete, the file lacks {len(missing)} tensors ({missing[0]}, …)"
        )
    config.rope_parameters = scaled_positions(source, config.rope_parameters)
    with torch.device("meta"):
        plain = auto.from_config(config, dtype=torch.bfloat16)
    plain.load_state_dict(loaded.state_dict(), assign=True)
    plain.tie_weights()
    return plain, tokenizer


@contextmanager
def _reading(source: GgufFile, what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise ModelError(
            f"model.path={source.path}: transformers cannot read the {what} of this GGUF file: {first_line(error)}; {OTHERWISE}"
        ) from None
