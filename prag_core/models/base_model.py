"""Load the frozen base model and its tokenizer, from where `local_model` finds them, and say clearly what is missing.

Remote code is never run. The model is in evaluation mode, and no parameter takes a gradient.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch

from prag_core.config.schema import Dtype
from prag_core.errors import ModelError
from prag_core.models.source import local_model

TORCH_DTYPES = {Dtype.float32: torch.float32, Dtype.bfloat16: torch.bfloat16, Dtype.float64: torch.float64}


class BaseModel(NamedTuple):
    model: Any  # a transformers causal language model
    tokenizer: Any  # its tokenizer, with a chat template


def default_device() -> str:
    """Return the accelerator if there is one, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def load_base_model(
    path: str, dtype: Dtype = Dtype.float32, device: str | torch.device = "cpu", revision: str | None = None
) -> BaseModel:
    """Load model and tokenizer of a model's path, with SDPA attention. Raises ModelError when the weights, the
    tokenizer or its chat template are missing, or do not fit each other."""
    folder = local_model(path)
    if _looks_local(folder) and not Path(folder).is_dir():
        raise ModelError(f"model.path={path}: no such folder")
    tokenizer = load_tokenizer(path, revision)
    model = _load_weights(path, TORCH_DTYPES[dtype], revision)
    vocabulary = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > vocabulary:
        raise ModelError(
            f"model.path={path}: {len(tokenizer)} tokens in the tokenizer, {vocabulary} in the model; they do not match"
        )
    return BaseModel(model.to(device).eval().requires_grad_(False), tokenizer)


def load_tokenizer(path: str, revision: str | None = None) -> Any:
    """Load the tokenizer alone (planning needs no weights). Raises ModelError without one or without a chat template."""
    from transformers import AutoTokenizer  # slow to import

    folder = Path(local_model(path))
    if folder.is_dir() and not any(
        any(folder.glob(pattern)) for pattern in ("tokenizer*", "vocab*", "*.model")
    ):
        raise ModelError(
            f"model.path={path}: the folder has no tokenizer (tokenizer.json); save it beside the weights"
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), revision=revision, trust_remote_code=False)
    except Exception as error:
        where = (
            "its tokenizer" if folder.is_dir() else "no such folder, and as a name on the hub its tokenizer"
        )
        raise ModelError(f"model.path={path}: {where} cannot be loaded: {_first_line(error)}") from None
    if not getattr(tokenizer, "chat_template", None):
        raise ModelError(
            f"model.path={path}: the tokenizer has no chat template; add chat_template.jinja, or use a chat model"
        )
    tokenizer.clean_up_tokenization_spaces = False  # text is what its tokens say, in pieces as in whole
    return tokenizer


def empty_model(path: str, revision: str | None = None) -> Any:
    """Make the model's modules without weights (on the meta device) from its config alone. Raises ModelError."""
    from transformers import AutoConfig, AutoModelForCausalLM  # slow to import

    build: Any = AutoModelForCausalLM.from_config
    folder = local_model(path)
    try:
        config = AutoConfig.from_pretrained(folder, revision=revision, trust_remote_code=False)
        with torch.device("meta"):
            return build(config, trust_remote_code=False)
    except Exception as error:
        raise ModelError(f"model.path={path}: its config cannot be read: {_first_line(error)}") from None


def context_length(model: Any, limit: int | None = None) -> int:
    """Return the tokens that a prompt may have: the model's own context, or `model.max_length` where that is less."""
    own = getattr(model.config, "max_position_embeddings", None)
    known = [length for length in (own, limit) if length is not None]
    if not known:
        raise ModelError("the model's config does not tell its context; set model.max_length")
    return int(min(known))


def _load_weights(path: str, dtype: torch.dtype, revision: str | None) -> Any:
    from transformers import AutoModelForCausalLM  # slow to import

    folder = local_model(path)
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            revision=revision,
            dtype=dtype,
            attn_implementation="sdpa",
            trust_remote_code=False,
            output_loading_info=True,
        )
    except Exception as error:
        raise ModelError(f"model.path={path}: its weights cannot be loaded: {_first_line(error)}") from None
    model, report = loaded
    missing = sorted(report["missing_keys"])
    if missing:
        raise ModelError(
            f"model.path={path}: incomplete, the weights lack {len(missing)} tensors ({missing[0]}, …)"
        )
    return model


def _looks_local(path: str) -> bool:
    return path.startswith((".", "/", "~")) or path.count("/") > 1


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
