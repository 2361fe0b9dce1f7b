"""The engine protocol: a batch of prompts, each with or without a merged adapter, becomes as many texts, in order.

Two engines keep this protocol. `vllm` is for throughput; `transformers` is the numerical oracle that it is tested
against. Both promise: greedy decoding at temperature 0; with a seed, a request's text depends on that seed and its own
prompt, not on what else is in the batch (up to rounding); the chat template's special tokens are not in the text; the
end-of-sequence tokens are the tokenizer's and the model's own. A request that cannot be served (too long, an adapter of
another shape) is refused with EngineError before anything runs, and the engine stays usable. A batch that makes the engine
raise is an EngineError, too, as long as the engine works without it. EngineDiedError means that the engine is broken and must
be replaced, with its process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from prag_core.errors import EngineError
from prag_core.merging import MergedAdapter
from prag_core.models.lora import AdapterLayout
from prag_core.models.thinking import thought_length


@dataclass(frozen=True, slots=True)
class Sampling:
    """Settings of decoding for a whole batch. `json_schema` constrains the text; it may still end early (`length`)."""

    max_new_tokens: int
    temperature: float = 0.0  # 0: greedy
    top_k: int = 0  # 0: all tokens
    json_schema: dict[str, Any] | None = None
    stop: tuple[str, ...] = ()  # text ends before the first of these
    probabilities: bool = False  # say how probable each generated token was


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt as token ids, the adapter to answer with (None: the bare model), and the seed of its sampling."""

    token_ids: tuple[int, ...]
    adapter: MergedAdapter | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Generation:
    """A generated text. `token_ids` are without the end-of-sequence token; `length`: cut by max_new_tokens or the context.
    `probabilities`, if asked for, has one for each token: the model's own, before temperature, top_k and grammar.
    `num_thought` tokens came before these: a thought, which was dropped."""

    text: str
    token_ids: tuple[int, ...]
    finish: Literal["stop", "length"]
    probabilities: tuple[float, ...] | None = None
    num_thought: int = 0


@dataclass(frozen=True, slots=True)
class Decoding:
    """Settings of decoding for one request, by the OpenAI protocol's names. Temperature 0 is greedy."""

    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0


@dataclass(frozen=True, slots=True)
class Piece:
    """Text since the last piece of a stream. `num_tokens` counts from the start; the last piece says why it is the last."""

    text: str
    num_tokens: int
    finish: Literal["stop", "length"] | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """A model's reading of the last n of a text's T tokens: `entropy_n`, in nats, of the distribution that predicted each, and
    `attention_hnt`, the last layer's attention of each to the whole text, by head."""

    entropy_n: np.ndarray
    attention_hnt: np.ndarray


@runtime_checkable
class AttentiveEngine(Protocol):
    """An engine that shows its model's attention and full distributions: `transformers` does, `vllm` has neither to give."""

    def read(self, request: Request, start: int) -> Reading:
        """Run one forward pass over the request's tokens. Return the reading from place `start` ≥ 1 on. Raises EngineError."""


class Engine(Protocol):
    """A loaded model. `max_length` is its context: prompt and new tokens together."""

    @property
    def tokenizer(self) -> Any: ...

    @property
    def max_length(self) -> int: ...

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[Generation]: ...

    def close(self) -> None: ...


def check_requests(
    requests: Sequence[Request], max_length: int, layout: AdapterLayout | None, max_merged_rank: int
) -> None:
    """Raise EngineError for the first request that cannot be served, naming its place in the batch."""
    checked: set[str] = set()
    for i, request in enumerate(requests):
        tokens = len(request.token_ids)
        if not 0 < tokens < max_length:
            raise EngineError(
                f"request {i}: a prompt of {tokens} tokens; the context is {max_length}, one kept for the answer"
            )
        if request.adapter is not None and request.adapter.name not in checked:
            problem = _adapter_problem(request.adapter, layout, max_merged_rank)
            if problem:
                raise EngineError(f"request {i}: adapter {request.adapter.name[:12]}: {problem}")
            checked.add(request.adapter.name)


def _adapter_problem(
    adapter: MergedAdapter, layout: AdapterLayout | None, max_merged_rank: int
) -> str | None:
    if layout is None:
        return "the engine was started without adapters"
    if not 1 <= adapter.rank <= max_merged_rank:
        return f"rank {adapter.rank}, the engine was started for ranks up to {max_merged_rank}"
    if set(adapter.factors) != {m.name for m in layout.modules}:
        return f"{len(adapter.factors)} modules, the model's layout has {len(layout.modules)}, or they differ in name"
    for m in layout.modules:
        a, b = adapter.factors[m.name]
        if a.shape != (adapter.rank, m.in_features) or b.shape != (m.out_features, adapter.rank):
            return f"{m.name}: factors {a.shape} and {b.shape}; rank {adapter.rank}, weight {m.out_features}x{m.in_features}"
        if not (np.isfinite(a).all() and np.isfinite(b).all()):
            return f"{m.name}: factors are not finite"
    return None


def finish_generation(
    tokenizer: Any,
    token_ids: Sequence[int],
    stop: Sequence[str],
    *,
    ended: bool,
    probabilities: Sequence[float] | None = None,
) -> Generation:
    """Decode token ids (no end-of-sequence token), without a thought before the answer, up to the first stop string. `ended`: the
    model itself stopped; `probabilities` may go on beyond the tokens."""
    thought = thought_length(tokenizer, token_ids)
    answer = tuple(token_ids[thought:])
    text, cut = before_stop(tokenizer.decode(list(answer), skip_special_tokens=True), stop)
    return Generation(
        text,
        answer,
        "stop" if ended or cut else "length",
        None if probabilities is None else tuple(probabilities[thought : len(token_ids)]),
        thought,
    )


def before_stop(text: str, stop: Sequence[str]) -> tuple[str, bool]:
    """Return the text before the first of the stop strings, and whether there was one."""
    cuts = [at for at in (text.find(s) for s in stop) if at >= 0]
    return (text[: min(cuts)], True) if cuts else (text, False)
