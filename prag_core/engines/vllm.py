"""The vLLM engine: whole shards of prompts at once, a LoRA of its own for every request that brings a merged adapter.

vLLM takes adapters as PEFT folders. Each distinct merged adapter of a wave is written once, under its content's name, to
RAM-backed storage, installed before anything runs (a folder that vLLM refuses fails the call, not the engine), and
removed when the wave is done; a wave has no more adapters than the engine keeps, so none is read twice. Equal
document sets have equal names, and so share vLLM's prefix cache.

The engine core runs in this process: it starts sooner, dies with its process, and its errors arrive as they were raised.
"""

from __future__ import annotations

import itertools
import json
import logging
import math
import os
import shutil
import sys
import tempfile
import warnings
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file

from prag_core.config.schema import EngineConfig, ModelConfig
from prag_core.engines.base import Generation, Request, Sampling, check_requests, finish_generation
from prag_core.engines.grammar import json_grammar
from prag_core.errors import EngineDiedError, EngineError, ModelError
from prag_core.merging import MergedAdapter
from prag_core.models.base_model import context_length, load_tokenizer
from prag_core.models.lora import AdapterLayout
from prag_core.records import Factors

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # the slot sizes vLLM has
CACHED_BATCHES = 4  # adapters kept in host memory, in batches
PLAIN_SEQUENCES = 128  # of one step where no adapter slots are needed
CPU_STEP_TOKENS = 4096  # of one step, all requests together
RAM = Path("/dev/shm")


class VllmEngine:
    """See `make_engine`. `folder` is where adapters lie while they are in use."""

    def __init__(
        self, config: EngineConfig, model: ModelConfig, layout: AdapterLayout | None, max_merged_rank: int
    ) -> None:
        self.tokenizer = load_tokenizer(model.path, model.revision)
        self._layout, self._max_merged_rank = layout, max_merged_rank
        self._wave = CACHED_BATCHES * config.max_sequences
        self._ids = itertools.count(1)
        self.folder = Path(tempfile.mkdtemp(prefix="prag-adapters-", dir=ram_folder()))
        self._remove_folder = weakref.finalize(
            self, shutil.rmtree, self.folder, ignore_errors=True
        )  # without close(), too
        try:
            self._llm = _load(config, model, layout, max_merged_rank)
        except BaseException:
            self.close()
            raise
        self.max_length = int(self._llm.llm_engine.model_config.max_model_len)
        self._bare = zero_adapter(layout) if layout and on_cpu() else None

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[Generation]:
        """One generation a request, in order. Raises EngineError before running anything if one cannot be served, and
        EngineDiedError where vLLM fails while it runs."""
        check_requests(requests, self.max_length, self._layout, self._max_merged_rank)
        requests = [
            request if request.adapter else replace(request, adapter=self._bare) for request in requests
        ]
        done: dict[int, Generation] = {}
        for places in _waves(requests, self._wave):
            try:
                wave = self._generate_wave([requests[i] for i in places], sampling)
            except EngineError:
                raise
            except Exception as error:
                raise EngineDiedError(
                    f"vLLM failed while generating: {type(error).__name__}: {error}"
                ) from error
            done.update(zip(places, wave, strict=True))
        return [done[i] for i in range(len(requests))]

    def loaded_adapters(self) -> set[int]:
        """vLLM's ids of the adapters that it holds in host memory right now."""
        return set(self._llm.llm_engine.list_loras())

    def close(self) -> None:
        """Shut the engine down and remove its adapter files."""
        self._remove_folder()
        if "_llm" in self.__dict__:
            self._llm.llm_engine.engine_core.shutdown()
            del self._llm

    def _generate_wave(self, requests: Sequence[Request], sampling: Sampling) -> list[Generation]:
        adapters = {r.adapter.name: r.adapter for r in requests if r.adapter is not None}
        with self._installed(adapters.values()) as installed:
            outputs = self._llm.generate(
                [{"prompt_token_ids": list(r.token_ids)} for r in requests],
                [sampling_params(sampling, r.seed) for r in requests],
                lora_request=[installed[r.adapter.name] if r.adapter else None for r in requests],
                use_tqdm=False,
            )
        return [generation_of(output, sampling, self.tokenizer) for output in outputs]

    @contextmanager
    def _installed(self, adapters: Iterable[MergedAdapter]) -> Iterator[dict[str, Any]]:
        """vLLM's handle of each adapter, by name; they and their files are gone afterwards."""
        from vllm.lora.request import LoRARequest

        handles: dict[str, Any] = {}
        try:
            for adapter in adapters:
                handles[adapter.name] = LoRARequest(
                    adapter.name, next(self._ids), str(self.folder / adapter.name)
                )
                write_peft(adapter, self.folder / adapter.name)
                self._install(handles[adapter.name])
            yield handles
        finally:
            for handle in handles.values():
                self._llm.llm_engine.remove_lora(handle.lora_int_id)
                shutil.rmtree(handle.lora_path, ignore_errors=True)

    def _install(self, handle: Any) -> None:
        try:
            self._llm.llm_engine.add_lora(handle)
        except Exception as error:
            raise EngineError(f"adapter {handle.lora_name[:12]}: vLLM refuses it: {error}") from error


def on_cpu() -> bool:
    from vllm.platforms import current_platform

    return bool(current_platform.is_cpu())


def zero_adapter(layout: AdapterLayout) -> MergedAdapter:
    """What a request without adapter carries on the CPU backend, which otherwise gives it the adapter in its last slot
    (vLLM 0.32; its index for none, -1, is used as an index)."""
    factors = {
        m.name: Factors(np.zeros((1, m.in_features), np.float32), np.zeros((m.out_features, 1), np.float32))
        for m in layout.modules
    }
    return MergedAdapter("bare", factors, rank=1)


def write_peft(adapter: MergedAdapter, folder: Path) -> None:
    """The adapter as PEFT saves one, float32, with alpha = rank: the scaling is in its factors."""
    folder.mkdir()
    tensors = {}
    for module, factors in adapter.factors.items():
        tensors[f"base_model.model.{module}.lora_A.weight"] = np.ascontiguousarray(factors.a)
        tensors[f"base_model.model.{module}.lora_B.weight"] = np.ascontiguousarray(factors.b)
    save_file(tensors, folder / "adapter_model.safetensors")
    targets = sorted({module.rsplit(".", 1)[-1] for module in adapter.factors})
    config = {
        "peft_type": "LORA",
        "r": adapter.rank,
        "lora_alpha": adapter.rank,
        "target_modules": targets,
        "bias": "none",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))


def _waves(requests: Sequence[Request], most: int) -> Iterator[list[int]]:
    """Places of the requests, cut where a wave would hold more than `most` different adapters."""
    wave: list[int] = []
    names: set[str] = set()
    for i, request in enumerate(requests):
        name = {request.adapter.name} if request.adapter else set()
        if len(names | name) > most:
            yield wave
            wave, names = [], set()
        wave.append(i)
        names |= name
    if wave:
        yield wave


def generation_of(output: Any, sampling: Sampling, tokenizer: Any) -> Generation:
    """vLLM's whole output of a request that was sampled so."""
    (completion,) = output.outputs
    ended = completion.finish_reason == "stop" and not isinstance(completion.stop_reason, str)
    token_ids = completion.token_ids[:-1] if ended else completion.token_ids
    probabilities = None
    if sampling.probabilities:
        steps = zip(
            token_ids, completion.logprobs, strict=False
        )  # one step more than tokens where the model ended
        probabilities = [math.exp(step[token].logprob) for token, step in steps]
    return finish_generation(tokenizer, token_ids, sampling.stop, ended=ended, probabilities=probabilities)


def sampling_params(sampling: Sampling, seed: int | None) -> Any:
    """For a request whose output comes once, whole."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

    schema = sampling.json_schema
    try:
        return SamplingParams(
            max_tokens=sampling.max_new_tokens,
            temperature=sampling.temperature,
            top_k=sampling.top_k if sampling.temperature > 0 else 0,
            seed=seed if sampling.temperature > 0 else None,
            stop=list(sampling.stop) or None,
            logprobs=0 if sampling.probabilities else None,  # of the chosen token alone
            detokenize=bool(sampling.stop),
            structured_outputs=None
            if schema is None
            else StructuredOutputsParams(grammar=json_grammar(schema)),
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
    except ValueError as error:
        raise EngineError(f"vLLM refuses how to sample: {error}") from error


def _load(
    config: EngineConfig, model: ModelConfig, layout: AdapterLayout | None, max_merged_rank: int
) -> Any:
    arguments = engine_arguments(config, model, layout, max_merged_rank)
    from vllm import LLM

    with loading(model):
        return LLM(**arguments, use_tqdm_on_load=False)


def engine_arguments(
    config: EngineConfig, model: ModelConfig, layout: AdapterLayout | None, max_merged_rank: int
) -> dict[str, Any]:
    """What vLLM is started with, by the names of its own engine arguments. Prepares this process for vLLM's import.

    Raises EngineError where vLLM is not installed, or has no slots for adapters of that rank."""
    _prepare_environment(model)
    _seal_llvmlite()
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
        "structured_outputs_config": {"backend": "xgrammar"},
    }
    arguments |= _lora_arguments(config, layout, max_merged_rank)
    if on_cpu():
        arguments |= _cpu_arguments(config, max_length)
    return arguments


@contextmanager
def loading(model: ModelConfig) -> Iterator[None]:
    """Around the start of vLLM: its complaints become ModelError, and torch is left as it was."""
    set_num_threads = torch.set_num_threads
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", FutureWarning
            )  # the CPU backend touches every name of every module
            yield
    except (ValueError, RuntimeError, OSError) as error:
        reason = " ".join(str(error).split())[:500]
        raise ModelError(f"model.path={model.path}: vLLM cannot load it: {reason}") from error
    finally:
        torch.set_num_threads = set_num_threads  # the CPU worker replaces it by one that does nothing


def _cpu_arguments(config: EngineConfig, max_length: int) -> dict[str, Any]:
    """Prompts are never split over steps there: a seeded request whose prompt is split ends the engine ("CPU Generator does
    not use offset")."""
    return {
        "enforce_eager": True,
        "kv_cache_memory_bytes": config.kv_cache_gigabytes << 30,
        "enable_chunked_prefill": False,
        "max_num_batched_tokens": max(max_length, CPU_STEP_TOKENS),
    }


def _seal_llvmlite() -> None:
    """The CPU backend looks into the `__dict__` of every object of every loaded module, and llvmlite's library (loaded by
    numba, by bm25s) answers for any name: let it not answer for Python's own."""
    if "llvmlite.binding.ffi" not in sys.modules:
        return
    library = type(sys.modules["llvmlite.binding.ffi"].lib)
    answer = library.__getattr__
    if answer.__name__ == "refuse_dunder":
        return

    def refuse_dunder(self: Any, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return answer(self, name)

    library.__getattr__ = refuse_dunder


def slot_rank(max_merged_rank: int) -> int:
    """The rank of the slots that hold merged adapters of up to this rank. Raises EngineError where vLLM has none so large."""
    slot = next((rank for rank in RANKS if rank >= max_merged_rank), None)
    if slot is None:
        raise EngineError(
            f"merged adapters of rank {max_merged_rank}; vLLM takes {RANKS[-1]} at most, lower retrieval.top_k"
        )
    return slot


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


def ram_folder() -> str | None:
    """Where files are memory; None (the default temporary folder) on a system without."""
    return str(RAM) if RAM.is_dir() and os.access(RAM, os.W_OK) else None
