"""A batch that makes an engine raise is refused as long as the engine works without it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from prag_core.engines.base import Engine, Request, Sampling
from prag_core.engines.transformers import TransformersEngine
from prag_core.errors import EngineDiedError, EngineError
from prag_core.merging import MergedAdapter

POISON = 1  # a token of no other prompt
LONG = "The town at the mouth of the river has a cathedral. " * 9  # more than a block of vLLM's cache
WITH_POISON = Request((5, POISON, 6))
Merged = Callable[..., MergedAdapter]


def holds_poison(step: Any) -> bool:
    """Whether the token is in transformers' tensor of prompts, or in a prompt that a step of vLLM begins."""
    if isinstance(step, torch.Tensor):
        return POISON in step
    return any(POISON in request.prompt_token_ids for request in step.scheduled_new_reqs)


def poison(engine: Any, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Make the engine's model raise for batches with the one token."""
    transformers = isinstance(engine, TransformersEngine)
    owner = engine.model if transformers else engine._llm.llm_engine.model_executor
    name = "generate" if transformers else "execute_model"
    work = getattr(owner, name)

    def wrapped(step: Any, **options: Any) -> Any:
        if holds_poison(step):
            raise error
        return work(step, **options)

    monkeypatch.setattr(owner, name, wrapped)


def test_what_raises_is_refused_and_its_neighbours_get_their_own_texts_without_it(
    engine: Engine, oracle: TransformersEngine, merged: Merged, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(engine, monkeypatch, ValueError("a token too strange"))
    prompt = tuple(engine.tokenizer.encode(LONG))
    neighbours = [Request(prompt), Request(prompt, merged(1)), Request(prompt[1:])]
    with pytest.raises(EngineError, match="ValueError: a token too strange") as refused:
        engine.generate([*neighbours, WITH_POISON], Sampling(8))
    assert not isinstance(refused.value, EngineDiedError)
    assert engine.generate(neighbours, Sampling(8)) == oracle.generate(neighbours, Sampling(8))


def test_an_engine_that_answers_nothing_afterwards_is_dead(
    oracle: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("device-side assert triggered")

    monkeypatch.setattr(oracle.model, "generate", fail)
    with pytest.raises(EngineDiedError, match="RuntimeError: device-side assert"):
        oracle.generate([WITH_POISON], Sampling(4))


@pytest.mark.parametrize("error", [MemoryError, torch.OutOfMemoryError])
def test_memory_that_ran_out_is_no_text_to_refuse(
    oracle: TransformersEngine, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    poison(oracle, monkeypatch, error("no room"))
    with pytest.raises(EngineDiedError, match="no room"):
        oracle.generate([WITH_POISON], Sampling(4))
