"""vLLM against the transformers engine, and what it does with adapters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from prag_core.config.schema import EngineConfig, ModelConfig
from prag_core.engines import vllm
from prag_core.engines.adapter_files import write_peft
from prag_core.engines.base import Request, Sampling
from prag_core.engines.load import make_engine
from prag_core.engines.transformers import TransformersEngine
from prag_core.engines.vllm import VllmEngine
from prag_core.errors import EngineDiedError, EngineError
from prag_core.merging import MergedAdapter
from prag_core.models.lora import AdapterLayout

Merged = Callable[..., MergedAdapter]


def prompt(engine: VllmEngine, text: str) -> tuple[int, ...]:
    return tuple(engine.tokenizer.encode(text))


def test_greedy_tokens_are_those_of_transformers(
    vllm_engine: VllmEngine, oracle: TransformersEngine, merged: Merged
) -> None:
    """Bare, and with a different merged adapter of rank 2·k on every request of one batch."""
    adapters = [None, merged(1), merged(1, 2), merged(3, 4, 5), None, merged(6, 1, 2)]
    requests = [Request(prompt(vllm_engine, "Where does the river end?"), adapter) for adapter in adapters]
    expected = oracle.generate(requests, Sampling(16))
    assert vllm_engine.generate(requests, Sampling(16)) == expected
    assert len({generation.token_ids for generation in expected}) == 5  # every adapter changes the answer


def test_more_adapters_than_the_engine_keeps_are_served_in_waves(
    vllm_engine: VllmEngine, oracle: TransformersEngine, merged: Merged
) -> None:
    requests = [Request(prompt(vllm_engine, f"Question {i}"), merged(i % 11)) for i in range(22)]
    assert vllm_engine.generate(requests, Sampling(4)) == oracle.generate(requests, Sampling(4))


def test_no_adapter_file_or_slot_outlives_its_call(vllm_engine: VllmEngine, merged: Merged) -> None:
    vllm_engine.generate([Request(prompt(vllm_engine, "Hello"), merged(1))], Sampling(2))
    assert list(vllm_engine.folder.iterdir()) == []
    assert vllm_engine.loaded_adapters() == set()


def test_a_file_that_vllm_refuses_fails_the_call_and_not_the_engine(
    vllm_engine: VllmEngine, monkeypatch: pytest.MonkeyPatch, merged: Merged
) -> None:
    request = Request(prompt(vllm_engine, "Hello"), merged(1))
    expected = vllm_engine.generate([request], Sampling(4))

    whole = write_peft

    def write_half(adapter: MergedAdapter, folder: Path) -> None:
        whole(adapter, folder)
        weights = folder / "adapter_model.safetensors"
        weights.write_bytes(weights.read_bytes()[:100])

    with monkeypatch.context() as patch:
        patch.setattr(vllm, "write_peft", write_half)
        with pytest.raises(EngineError, match="vLLM refuses it"):
            vllm_engine.generate([request], Sampling(4))
    assert vllm_engine.generate([request], Sampling(4)) == expected
    assert list(vllm_engine.folder.iterdir()) == []


def test_a_failure_of_vllm_itself_is_told_from_a_refusal(
    vllm_engine: VllmEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(vllm_engine._llm, "generate", fail)
    with pytest.raises(EngineDiedError, match="RuntimeError: out of memory"):
        vllm_engine.generate([Request(prompt(vllm_engine, "Hello"))], Sampling(4))


def test_a_rank_beyond_vllms_slots_is_refused_before_loading(tiny_model: Path, layout: AdapterLayout) -> None:
    with pytest.raises(EngineError, match=r"513.*512"):
        make_engine(EngineConfig(), ModelConfig(str(tiny_model)), layout=layout, max_merged_rank=513)
