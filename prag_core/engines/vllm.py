"""The vLLM engine: whole shards of prompts at once, a LoRA of its own for every request that brings a merged adapter.

vLLM takes adapters as PEFT folders. Each distinct merged adapter of a wave is written once, under its content's name, to
RAM-backed storage, installed before anything runs (a folder that vLLM refuses fails the call, not the engine), and
removed when the wave is done; a wave has no more adapters than the engine keeps, so none is read twice. Equal
document sets have equal names, and so share vLLM's prefix cache.

The engine core runs in this process: it starts sooner, dies with its process, and its errors arrive as they were raised.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from prag_core.config.schema import EngineConfig, ModelConfig
from prag_core.engines.adapter_check import ONE_TOKEN, probe_requests
from prag_core.engines.adapter_files import ram_folder, write_peft
from prag_core.engines.base import Generation, Request, Sampling, check_requests
from prag_core.engines.recovery import generating
from prag_core.engines.vllm_arguments import CACHED_BATCHES, engine_arguments, loading, on_cpu
from prag_core.engines.vllm_sampling import generation_of, sampling_params
from prag_core.errors import EngineError
from prag_core.merging import MergedAdapter
from prag_core.models.base_model import load_tokenizer
from prag_core.models.lora import AdapterLayout
from prag_core.patches.vllm import zero_adapter


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
            arguments = engine_arguments(config, model, layout, max_merged_rank)
            from vllm import LLM

            with loading(model):
                self._llm = LLM(**arguments, use_tqdm_on_load=False)
        except BaseException:
            self.close()
            raise
        self.max_length = int(self._llm.llm_engine.model_config.max_model_len)
        self._bare = zero_adapter(layout) if layout and on_cpu() else None

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[Generation]:
        """One generation a request, in order. Raises EngineError, before running anything if one cannot be served, and
        EngineDiedError."""
        check_requests(requests, self.max_length, self._layout, self._max_merged_rank)
        requests = self._none_bare(requests)
        done: dict[int, Generation] = {}
        for places in _waves(requests, self._wave):
            with generating("vLLM", self._recover):
                wave = self._generate_wave([requests[i] for i in places], sampling)
            done.update(zip(places, wave, strict=True))
        return [done[i] for i in range(len(requests))]

    def loaded_adapters(self) -> set[int]:
        """vLLM's ids of the adapters that it holds in host memory right now."""
        return set(self._llm.llm_engine.list_loras())

    def adapted_modules(self) -> list[str]:
        """See `AdaptableEngine`."""
        names: list[str] = self._llm.collective_rpc("adapted_modules")[0]
        return names

    def close(self) -> None:
        """Shut the engine down and remove its adapter files."""
        self._remove_folder()
        if "_llm" in self.__dict__:
            self._llm.llm_engine.engine_core.shutdown()
            del self._llm

    def _none_bare(self, requests: Sequence[Request]) -> list[Request]:
        """The requests, each with an adapter where vLLM needs that (see `zero_adapter`)."""
        return [request if request.adapter else replace(request, adapter=self._bare) for request in requests]

    def _recover(self) -> None:
        """Drop what a failed wave left behind; raise unless the engine works without it. A step that failed may have called
        blocks of its prompts cached that it never filled."""
        engine = self._llm.llm_engine
        engine.abort_request(list(engine.output_processor.request_states), internal=True)
        self._generate_wave(self._none_bare(probe_requests(self.tokenizer, None)), ONE_TOKEN)
        if not self._llm.reset_prefix_cache():
            raise RuntimeError("requests that were aborted still hold blocks of the cache")

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
