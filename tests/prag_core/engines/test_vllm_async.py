"""The streaming engine against the batch one, and what it says when it is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import psutil
import pytest

from prag_core.config.schema import Dtype, EngineConfig, ModelConfig
from prag_core.engines.adapter_files import write_peft
from prag_core.engines.base import Decoding, Generation, Request, Sampling
from prag_core.engines.transformers import TransformersEngine
from prag_core.engines.vllm_async import VllmStream
from prag_core.errors import EngineDiedError, EngineError
from prag_core.merging import MergedAdapter
from prag_core.models.lora import AdapterLayout

Merged = Callable[..., MergedAdapter]
MERGED_MODULES = {
    f"model.layers.{layer}.mlp.{name}" for layer in (0, 1) for name in ("gate_up_proj", "down_proj")
}


async def read(engine: VllmStream, *arguments: Any, **more: Any) -> tuple[list[str], Any]:
    """The pieces that hold text, and the last piece."""
    pieces = [piece async for piece in engine.stream(*arguments, **more)]
    return [piece.text for piece in pieces if piece.text], pieces[-1]


def test_a_streaming_engine_from_start_to_death(
    tiny_model: Path, layout: AdapterLayout, oracle: TransformersEngine, merged: Merged, tmp_path: Path
) -> None:
    """One engine for all of it, as starting one takes longest."""
    asyncio.run(live(tiny_model, layout, oracle, merged, tmp_path))


async def live(
    model: Path, layout: AdapterLayout, oracle: TransformersEngine, merged: Merged, folder: Path
) -> None:
    engine = VllmStream(
        EngineConfig(dtype=Dtype.float32, max_sequences=4), ModelConfig(str(model)), layout, 6
    )
    try:
        assert engine.max_rank == 8 and engine.bare is not None
        await engine.check_adapters()
        assert set(await engine.adapted_modules()) == MERGED_MODULES
        handles = {}
        for number, adapter in enumerate((engine.bare, merged(1), merged(2, 3), merged(4, 5, 6)), 1):
            write_peft(adapter, folder / str(number))
            handles[number] = await engine.install(adapter.name, number, folder / str(number))
        prompt = tuple(engine.tokenizer.encode("Where does the river end?"))
        await same_texts_as_the_oracle(engine, oracle, prompt, handles, merged)
        await whole_generations_of_the_oracle(engine, oracle, prompt, handles, merged)
        await stops_and_limits(engine, prompt, handles[1])
        await refusals_leave_the_engine_alive(engine, prompt, handles[1], folder)
        await death_is_told(engine, prompt, handles, folder)
    finally:
        engine.close()


async def same_texts_as_the_oracle(
    engine: VllmStream,
    oracle: TransformersEngine,
    prompt: tuple[int, ...],
    handles: dict[int, Any],
    merged: Merged,
) -> None:
    adapters = [None, merged(1), merged(2, 3), merged(4, 5, 6)]
    expected = oracle.generate([Request(prompt, adapter) for adapter in adapters], Sampling(16))
    found = await asyncio.gather(*[read(engine, prompt, Decoding(16), handle) for handle in handles.values()])
    assert ["".join(pieces) for pieces, _ in found] == [generation.text for generation in expected]
    assert len({generation.text for generation in expected}) == 4
    assert all(len(pieces) > 1 for pieces, _ in found)
    salted, _ = await read(engine, prompt, Decoding(16), handles[2], salt="someone")
    assert "".join(salted) == expected[1].text


async def whole_generations_of_the_oracle(
    engine: VllmStream,
    oracle: TransformersEngine,
    prompt: tuple[int, ...],
    handles: dict[int, Any],
    merged: Merged,
) -> None:
    adapters = [None, merged(1), merged(2, 3), merged(4, 5, 6)]
    requests = [Request(prompt, adapter) for adapter in adapters]

    async def both(sampling: Sampling) -> list[tuple[Generation, Generation]]:
        expected = oracle.generate(requests, sampling)
        found = await asyncio.gather(
            *[engine.generate(prompt, sampling, handle, "salt") for handle in handles.values()]
        )
        return list(zip(found, expected, strict=True))

    whole = await both(Sampling(16, probabilities=True))
    for one, other in whole:
        assert (one.text, one.token_ids, one.finish) == (other.text, other.token_ids, other.finish)
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-4)
    told: list[int] = []
    await engine.generate(prompt, Sampling(16), handles[1], count=told.append)
    assert len(told) > 1 and sum(told) - len(whole[0][0].token_ids) in (0, 1), "1 where the model ends itself"
    for one, other in await both(
        Sampling(16, stop=(whole[0][0].text[4:6],))
    ):  # the oracle stops later, and cuts
        assert (one.text, one.finish) == (other.text, other.finish)


async def stops_and_limits(engine: VllmStream, prompt: tuple[int, ...], bare: Any) -> None:
    whole = "".join((await read(engine, prompt, Decoding(16), bare))[0])
    pieces, last = await read(engine, prompt, Decoding(16, stop=(whole[5:8], "never")), bare)
    assert "".join(pieces) == whole[: whole.find(whole[5:8])] and last.finish == "stop"
    _, last = await read(engine, prompt, Decoding(3), bare)
    assert (last.num_tokens, last.finish) == (3, "length")
    sampled = Decoding(12, temperature=1.0, top_p=0.9, seed=7, presence_penalty=0.5)
    (once, _), (again, _) = [await read(engine, prompt, sampled, bare) for _ in range(2)]
    assert "".join(once) == "".join(again)  # how it is cut into pieces is a matter of time


async def refusals_leave_the_engine_alive(
    engine: VllmStream, prompt: tuple[int, ...], bare: Any, folder: Path
) -> None:
    (folder / "broken").mkdir()
    with pytest.raises(EngineError, match="refuses"):
        await engine.install("broken", 99, folder / "broken")
    with pytest.raises(EngineError, match="context"):
        await read(engine, prompt * 500, Decoding(4), bare)
    with pytest.raises(EngineError, match="context"):
        await engine.generate(prompt * 500, Sampling(4), bare)
    assert (await read(engine, prompt, Decoding(4), bare))[0]
    await engine.check_health()


async def death_is_told(
    engine: VllmStream, prompt: tuple[int, ...], handles: dict[int, Any], folder: Path
) -> None:
    """At once: by what waits for the engine as it dies, and by everything after. vLLM itself would leave some of it waiting."""
    processes = [
        process
        for process in psutil.Process().children(recursive=True)
        if "EngineCore" in " ".join([process.name(), *process.cmdline()])
    ]
    for process in processes:
        process.suspend()
    waiting = [asyncio.create_task(call) for call in calls(engine, prompt, handles, folder)]
    await asyncio.sleep(0.5)  # all of them are at the engine, which says nothing
    assert not any(call.done() for call in waiting)
    for process in processes:
        process.kill()
    async with asyncio.timeout(30):
        for call in [*waiting, *calls(engine, prompt, handles, folder), engine.check_health()]:
            with pytest.raises(EngineDiedError):
                await call


def calls(
    engine: VllmStream, prompt: tuple[int, ...], handles: dict[int, Any], folder: Path
) -> list[Coroutine[Any, Any, Any]]:
    return [
        read(engine, prompt, Decoding(2000), handles[1]),
        engine.generate(prompt, Sampling(4), handles[1]),
        engine.install("late", 9, folder / "4"),
        engine.uninstall(handles[2]),
        engine.forget_prefixes(),
    ]
