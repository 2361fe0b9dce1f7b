"""What vLLM is started with, for batches and for serving."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from prag_core.config.schema import EngineConfig, ModelConfig
from prag_core.engines.vllm_worker import AdaptedModules
from prag_core.errors import EngineError, ModelError
from prag_core.models.base_model import context_length
from prag_core.models.lora import AdapterLayout
from prag_core.models.source import local_model
from prag_core.patches.llvmlite import refuse_python_names
from prag_core.patches.vllm import kept_set_num_threads

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # the slot sizes that vLLM has
CACHED_BATCHES = 4  # adapters kept in host memory, in batches
PLAIN_SEQUENCES = 128  # of one step where no adapter slots are needed
CPU_STEP_TOKENS = 4096  # of one step, all requests together


def engine_arguments(
    config: EngineConfig, model: ModelConfig, layout: AdapterLayout | None, max_merged_rank: int
) -> dict[str, Any]:
    """What vLLM is started with, by the names of its own engine arguments. Prepares this process for vLLM's import.

    Raises EngineError where vLLM is not installed, or has no slots for adapters of that rank, and as `local_model` does."""
    model = replace(model, path=local_model(model.path))
    _prepare_environment(model)
    refuse_python_names()
    try:
        import vllm  # noqa: F401
    except ImportError as error:
        raise EngineError(
            f"engine.kind=vllm, but vLLM cannot be imported ({error}); install it or use transformers"
        ) from error
    max_length = _context_length(model)
    arguments = {
        "model": model.path,
        "revision": model.revision,
        "max_model_len": max_length,
        "dtype": config.dtype.value,
        "max_num_seqs": config.max_sequences if layout else max(config.max_sequences, PLAIN_SEQUENCES),
        "gpu_memory_utilization": config.gpu_memory_utilization,
        "enable_prefix_caching": True,
        "generation_config": "vllm",  # of the model's own only the end-of-sequence ids
        "structured_outputs_config": {"backend": "xgrammar"},
        "worker_extension_cls": f"{AdaptedModules.__module__}.{AdaptedModules.__name__}",
    }
    arguments |= _lora_arguments(config, layout, max_merged_rank)
    if on_cpu():
        arguments |= _cpu_arguments(config, max_length)
    return arguments


@contextmanager
def loading(model: ModelConfig) -> Iterator[None]:
    """Around the start of vLLM: turn its complaints into ModelError, and leave torch as it was."""
    try:
        with kept_set_num_threads(), warnings.catch_warnings():
            # the CPU backend touches every name of every module, deprecated ones too
            warnings.simplefilter("ignore", FutureWarning)
            yield
    except (ValueError, RuntimeError, OSError) as error:
        reason = " ".join(str(error).split())[:500]
        raise ModelError(f"model.path={model.path}: vLLM cannot load it: {reason}") from error


def on_cpu() -> bool:
    """Whether vLLM's backend is the CPU's."""
    from vllm.platforms import current_platform

    return bool(current_platform.is_cpu())


def slot_rank(max_merged_rank: int) -> int:
    """The rank of the slots that hold merged adapters of up to this rank. Raises EngineError where vLLM has none so large."""
    slot = next((rank for rank in RANKS if rank >= max_merged_rank), None)
    if slot is None:
        raise EngineError(
            f"merged adapters of rank {max_merged_rank}; vLLM takes {RANKS[-1]} at most, lower retrieval.top_k"
        )
    return slot


def _cpu_arguments(config: EngineConfig, max_length: int) -> dict[str, Any]:
    """Prompts are never split over steps there: a seeded request whose prompt is split ends the engine ("CPU Generator does
    not use offset")."""
    return {
        "enforce_eager": True,
        "kv_cache_memory_bytes": config.kv_cache_gigabytes << 30,
        "enable_chunked_prefill": False,
        "max_num_batched_tokens": max(max_length, CPU_STEP_TOKENS),
    }


def _lora_arguments(
    config: EngineConfig, layout: AdapterLayout | None, max_merged_rank: int
) -> dict[str, Any]:
    if layout is None:
        return {}
    return {
        "enable_lora": True,
        "max_lora_rank": slot_rank(max_merged_rank),
        "max_loras": config.max_sequences,
        "max_cpu_loras": CACHED_BATCHES * config.max_sequences,
        "lora_target_modules": layout.target_modules,
    }


def _context_length(model: ModelConfig) -> int:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(model.path, revision=model.revision)
    return context_length(SimpleNamespace(config=config), model.max_length)


def _prepare_environment(model: ModelConfig) -> None:
    """What vLLM reads from the environment when it is imported; what the user set stays."""
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    logging.getLogger("vllm").setLevel(os.environ["VLLM_LOGGING_LEVEL"])
    if Path(model.path).is_dir():
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
