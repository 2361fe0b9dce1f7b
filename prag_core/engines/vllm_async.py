"""vLLM for serving: one engine, many requests at once, each with its own adapter, its text handed out as it grows.

The engine core is a process of its own, so that a request's arrival and departure never wait for a step. It promises:
- what a request gives, in pieces or whole, is what `VllmEngine` gives for the same prompt, adapter and decoding, whatever runs
  beside it;
- pieces joined are the text: no piece ends inside a character, or inside what may become a stop string;
- an adapter that vLLM refuses fails `install` and nothing else (EngineError); when the engine is gone every call raises
  EngineDiedError, and so does `check_health`.

Adapters are PEFT folders that the caller owns: they must lie unchanged from `install` until `uninstall`.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any

from prag_core.config.schema import EngineConfig, ModelConfig
from prag_core.engines.base import Decoding, Generation, Piece, Sampling, finish_generation
from prag_core.engines.vllm import (
    CACHED_BATCHES,
    engine_arguments,
    generation_of,
    loading,
    on_cpu,
    sampling_params,
    slot_rank,
    zero_adapter,
)
from prag_core.errors import EngineDiedError, EngineError
from prag_core.merging import MergedAdapter
from prag_core.models.base_model import load_tokenizer
from prag_core.models.lora import AdapterLayout

UNFINISHED = "\N{REPLACEMENT CHARACTER}"  # what part of a character decodes to


class VllmStream:
    """`capacity` adapters can be installed at once, of rank up to `max_rank`."""

    def __init__(
        self,
        config: EngineConfig,
        model: ModelConfig,
        layout: AdapterLayout | None,
        max_merged_rank: int,
        *,
        ray_metrics: bool = False,
    ) -> None:
        """Load the model, with room for adapters of `layout` (None: without any); with `ray_metrics`, the engine's own metrics
        go to Ray's. Must be called on the event loop that will use the engine. Raises ModelError, EngineError."""
        self.tokenizer = load_tokenizer(model.path, model.revision)
        self.max_rank = slot_rank(max_merged_rank)
        self.capacity = CACHED_BATCHES * config.max_sequences
        arguments = engine_arguments(config, model, layout, max_merged_rank)
        from vllm import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        with loading(model):
            made = AsyncEngineArgs(**arguments, disable_log_stats=not ray_metrics)
            self._llm = AsyncLLM.from_engine_args(
                made, stat_loggers=[_engine_metrics()] if ray_metrics else None
            )
        self.max_length = int(self._llm.model_config.max_model_len)
        self.bare: MergedAdapter | None = zero_adapter(layout) if layout and on_cpu() else None
        self._ids = itertools.count()

    async def install(self, name: str, number: int, folder: Path) -> Any:
        """Load a PEFT folder under a name and an id of its own; what comes back goes to `stream`. Raises EngineError."""
        from vllm.lora.request import LoRARequest

        handle = LoRARequest(name, number, str(folder))
        with self._errors(f"adapter {name[:12]}: vLLM refuses it"):
            await self._llm.add_lora(handle)
        return handle

    async def uninstall(self, handle: Any) -> None:
        with self._errors(f"adapter {handle.lora_name[:12]} cannot be removed"):
            await self._llm.remove_lora(handle.lora_int_id)

    async def stream(
        self, token_ids: Sequence[int], decoding: Decoding, adapter: Any = None, salt: str = ""
    ) -> AsyncGenerator[Piece, None]:
        """The text as it grows; closing the iterator ends the request. `adapter` comes from `install`; requests of different
        `salt` share no cached prefix. Raises EngineError for what cannot be served, EngineDiedError."""
        text = _GrowingText(self.tokenizer, decoding.stop)
        async with aclosing(self._outputs(token_ids, _streaming_params(decoding), adapter, salt)) as outputs:
            async for output in outputs:
                (completion,) = output.outputs
                piece = text.grow(completion)
                if piece.text or piece.finish:
                    yield piece

    async def generate(
        self, token_ids: Sequence[int], sampling: Sampling, adapter: Any = None, salt: str = ""
    ) -> Generation:
        """The whole of it at once, as a batch engine says it; cancelling ends the request. The rest is as in `stream`."""
        async with aclosing(
            self._outputs(token_ids, sampling_params(sampling, None), adapter, salt)
        ) as outputs:
            (output,) = [output async for output in outputs]
        return generation_of(output, sampling, self.tokenizer)

    async def _outputs(
        self, token_ids: Sequence[int], params: Any, adapter: Any, salt: str
    ) -> AsyncGenerator[Any, None]:
        if not 0 < len(token_ids) < self.max_length:
            raise EngineError(
                f"a prompt of {len(token_ids)} tokens; the context is {self.max_length}, one of them kept for the answer"
            )
        prompt: dict[str, Any] = {"prompt_token_ids": list(token_ids)} | (
            {"cache_salt": salt} if salt else {}
        )
        with self._errors("vLLM refuses the request"):
            outputs = self._llm.generate(prompt, params, f"request-{next(self._ids)}", lora_request=adapter)
            async with aclosing(outputs):
                async for output in outputs:
                    yield output

    async def forget_prefixes(self) -> None:
        """Drop cached prefixes, as far as no running request holds them."""
        with self._errors("the prefix cache cannot be cleared"):
            await self._llm.reset_prefix_cache()

    async def check_health(self) -> None:
        """Raises EngineDiedError when the engine is gone."""
        with self._errors("the engine is not healthy"):
            await self._llm.check_health()

    def close(self) -> None:
        """End the engine. It cannot be used afterwards."""
        self._llm.shutdown()
        del self._llm

    @contextmanager
    def _errors(self, what: str) -> Any:
        try:
            yield
        except Exception as error:
            if self._llm.errored:
                raise EngineDiedError(f"the generation engine ended: {error}") from error
            raise EngineError(f"{what}: {error}") from error


class _GrowingText:
    """Token ids that come in bits, as text. The whole is decoded each time: what a token says depends on those before it."""

    def __init__(self, tokenizer: Any, stop: Sequence[str]) -> None:
        self._tokenizer, self._stop = tokenizer, stop
        self._held = (
            max((len(s) for s in stop), default=1) - 1
        )  # characters that may turn out to begin a stop string
        self._ids: list[int] = []
        self._said = 0

    def grow(self, completion: Any) -> Piece:
        self._ids += completion.token_ids
        if completion.finish_reason is not None:
            return self._last(completion)
        text = self._tokenizer.decode(self._ids, skip_special_tokens=True)
        end = max(len(text) - self._held, self._said)
        piece = text[self._said : end]
        if text.endswith(UNFINISHED):
            return Piece("", len(self._ids))
        self._said = end
        return Piece(piece, len(self._ids))

    def _last(self, completion: Any) -> Piece:
        ended = completion.finish_reason == "stop" and not isinstance(completion.stop_reason, str)
        ids = self._ids[:-1] if ended else self._ids
        whole = finish_generation(self._tokenizer, ids, self._stop, ended=ended)
        return Piece(whole.text[self._said :], len(self._ids), whole.finish)


def _engine_metrics() -> Any:
    """vLLM's metrics as Ray's, less the one that has the names of adapters for labels: there is no end of them."""
    from vllm.v1.metrics.ray_wrappers import RayPrometheusStatLogger

    class EngineMetrics(RayPrometheusStatLogger):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **more: Any) -> None:
            super().__init__(*arguments, **more)
            self.gauge_lora_info = None

    return EngineMetrics


def _streaming_params(decoding: Decoding) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    greedy = decoding.temperature == 0
    return SamplingParams(
        max_tokens=decoding.max_new_tokens,
        temperature=decoding.temperature,
        top_p=1.0 if greedy else decoding.top_p,
        seed=None if greedy else decoding.seed,
        stop=list(decoding.stop) or None,
        presence_penalty=decoding.presence_penalty,
        frequency_penalty=decoding.frequency_penalty,
        detokenize=bool(decoding.stop),
        output_kind=RequestOutputKind.DELTA,
    )
