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

import asyncio
import itertools
import tempfile
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Sequence
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any

from tokenizers.decoders import DecodeStream

from prag_core.config.schema import EngineConfig, ModelConfig
from prag_core.engines.adapter_check import ONE_TOKEN, differ, inert, probe_requests, random_adapter
from prag_core.engines.adapter_files import ram_folder, write_peft
from prag_core.engines.base import Decoding, Generation, Piece, Sampling, before_stop
from prag_core.engines.vllm_arguments import CACHED_BATCHES, engine_arguments, loading, on_cpu, slot_rank
from prag_core.engines.vllm_sampling import generation_of, sampling_params, streaming_params
from prag_core.errors import EngineDiedError, EngineError, ModelError
from prag_core.merging import MergedAdapter
from prag_core.models.base_model import load_tokenizer
from prag_core.models.lora import AdapterLayout
from prag_core.models.thinking import thought_tokens
from prag_core.patches.vllm import metrics_without_adapter_names, zero_adapter

CHECK_NUMBER = 2**31 - 1  # vLLM's id of an adapter that is installed for the check at start


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
        if not self.tokenizer.is_fast:
            raise ModelError(f"model.path={model.path}: serving needs its fast tokenizer (tokenizer.json)")
        self.max_rank = slot_rank(max_merged_rank)
        self.capacity = CACHED_BATCHES * config.max_sequences
        arguments = engine_arguments(config, model, layout, max_merged_rank)
        from vllm import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM  # vLLM has no public name for it

        with loading(model):
            settings = AsyncEngineArgs(**arguments, disable_log_stats=not ray_metrics)
            self._llm = AsyncLLM.from_engine_args(
                settings, stat_loggers=[metrics_without_adapter_names()] if ray_metrics else None
            )
        self.max_length = int(self._llm.model_config.max_model_len)
        self.bare: MergedAdapter | None = zero_adapter(layout) if layout and on_cpu() else None
        self._layout = layout
        self._ids = itertools.count()

    async def check_adapters(self) -> None:
        """Raise ModelError unless adapters change what the engine says. To be called once, before anything is installed."""
        if self._layout is None:
            return
        answers = []
        for adapter in (self.bare, random_adapter(self._layout)):
            try:
                answers.append([generation async for generation in self._probe(adapter)])
            except EngineDiedError:
                raise
            except EngineError as error:
                raise inert(self._layout, await self.adapted_modules(), str(error)) from error
        if not differ(*answers):
            raise inert(self._layout, await self.adapted_modules())

    async def adapted_modules(self) -> list[str]:
        """Names of the modules that take adapters, as vLLM has them."""
        what = "the names of its modules cannot be read"
        names: list[list[str]] = await self._answer(self._llm.collective_rpc("adapted_modules"), what)
        return names[0]

    async def _probe(self, adapter: MergedAdapter | None) -> AsyncGenerator[Generation, None]:
        """The answers to the prompts of the check, with `adapter` installed for as long as they take."""
        with tempfile.TemporaryDirectory(prefix="prag-check-", dir=ram_folder()) as folder:
            handle = None
            if adapter is not None:
                write_peft(adapter, Path(folder) / adapter.name)
                handle = await self.install(adapter.name, CHECK_NUMBER, Path(folder) / adapter.name)
            for request in probe_requests(self.tokenizer, None):
                yield await self.generate(request.token_ids, ONE_TOKEN, handle)
            if handle is not None:
                await self.uninstall(handle)

    async def install(self, name: str, number: int, folder: Path) -> Any:
        """Load a PEFT folder under a name and an id of its own; what comes back goes to `stream`. Raises EngineError."""
        from vllm.lora.request import LoRARequest

        handle = LoRARequest(name, number, str(folder))
        await self._answer(self._llm.add_lora(handle), f"adapter {name[:12]}: vLLM refuses it")
        return handle

    async def uninstall(self, handle: Any) -> None:
        what = f"adapter {handle.lora_name[:12]} cannot be removed"
        await self._answer(self._llm.remove_lora(handle.lora_int_id), what)

    async def stream(
        self, token_ids: Sequence[int], decoding: Decoding, adapter: Any = None, salt: str = ""
    ) -> AsyncGenerator[Piece, None]:
        """The text as it grows; closing the iterator ends the request. A piece without text says that tokens came whose text is
        held back. `adapter` comes from `install`; requests of different `salt` share no cached prefix. Raises EngineError for
        what cannot be served, EngineDiedError."""
        text = _GrowingText(self.tokenizer, decoding.stop)
        async with aclosing(self._outputs(token_ids, streaming_params(decoding), adapter, salt)) as outputs:
            async for output in outputs:
                (completion,) = output.outputs
                yield text.grow(completion)

    async def generate(
        self,
        token_ids: Sequence[int],
        sampling: Sampling,
        adapter: Any = None,
        salt: str = "",
        count: Callable[[int], None] = lambda new_tokens: None,
    ) -> Generation:
        """The whole of it at once, as a batch engine says it; cancelling ends the request. `count` is told of tokens as they are
        generated. The rest is as in `stream`."""
        params, told = sampling_params(sampling, None, growing=True), 0
        async with aclosing(self._outputs(token_ids, params, adapter, salt)) as outputs:
            async for output in outputs:
                total = len(output.outputs[0].token_ids)
                count(total - told)
                told = total
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
        await self._answer(self._llm.reset_prefix_cache(), "the prefix cache cannot be cleared")

    async def check_health(self) -> None:
        """Raises EngineDiedError when the engine is gone."""
        with self._errors("the engine is not healthy"):
            await self._llm.check_health()

    def close(self) -> None:
        """End the engine. It cannot be used afterwards."""
        self._llm.shutdown()
        del self._llm

    async def _answer(self, call: Coroutine[Any, Any, Any], what: str) -> Any:
        """What a call to the engine's process gives. vLLM never ends a call that its engine's death leaves unanswered, so the
        handler of all outputs, which does end then, is waited for as well."""
        with self._errors(what):
            answer = asyncio.create_task(call)
            try:
                await asyncio.wait({answer, self._llm.output_handler}, return_when=asyncio.FIRST_COMPLETED)
                if not answer.done():
                    raise EngineDiedError("it ended during a call")
                return answer.result()
            finally:
                answer.cancel()

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if self._llm.errored:
                raise EngineDiedError(f"the generation engine ended: {error}") from error
            raise EngineError(f"{what}: {error}") from error


class _GrowingText:
    """Token ids that arrive in bits, as text that grows. A thought that the answer begins with is no part of it."""

    def __init__(self, tokenizer: Any, stop: Sequence[str]) -> None:
        self._tokenizer, self._stop = tokenizer, stop
        self._thought = thought_tokens(tokenizer)
        # the last characters may turn out to begin a stop string
        self._held = max((len(s) for s in stop), default=1) - 1
        self._decoder = DecodeStream(skip_special_tokens=True)
        self._ids: list[int] = []
        self._answer_from = 0  # the first token after the thought
        self._unsaid = ""
        self._said = 0

    def grow(self, completion: Any) -> Piece:
        for token in completion.token_ids:
            self._take(token)
        if completion.finish_reason is not None:
            return self._last(completion)
        end = max(len(self._unsaid) - self._held, 0)
        piece, self._unsaid = self._unsaid[:end], self._unsaid[end:]
        self._said += len(piece)
        return Piece(piece, len(self._ids))

    def _take(self, token: int) -> None:
        self._ids.append(token)
        if not self._in_thought:
            self._unsaid += self._decoder.step(self._tokenizer.backend_tokenizer, token) or ""
        elif token == self._thought.close:
            self._answer_from = len(self._ids)

    @property
    def _in_thought(self) -> bool:
        return bool(self._ids) and self._ids[0] == self._thought.open and not self._answer_from

    def _last(self, completion: Any) -> Piece:
        """All that is left, from one decoding of the whole: the end may hold part of a character."""
        ended = completion.finish_reason == "stop" and not isinstance(completion.stop_reason, str)
        ids = self._ids[:-1] if ended else self._ids
        answer = [] if self._in_thought else ids[self._answer_from :]
        text, cut = before_stop(self._tokenizer.decode(answer, skip_special_tokens=True), self._stop)
        return Piece(text[self._said :], len(self._ids), "stop" if ended or cut else "length")
