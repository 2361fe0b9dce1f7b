"""What both engines promise, asked of both."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from prag_core.config.schema import Dtype, EngineConfig, EngineKind, ModelConfig
from prag_core.engines.base import Engine, Generation, Request, Sampling, finish_generation
from prag_core.engines.load import make_engine
from prag_core.errors import EngineError, ModelError
from prag_core.merging import MergedAdapter
from prag_core.models.lora import AdapterLayout
from prag_core.records import Factors
from tests.prag_core.engines.conftest import byte_tokenizer

Merged = Callable[..., MergedAdapter]

WORDS = {"type": "array", "items": {"enum": ["north", "north-west", "south"]}, "minItems": 3, "maxItems": 3}


def ask(engine: Engine, text: str, **fields: Any) -> Request:
    return Request(tuple(engine.tokenizer.encode(text)), **fields)


def test_generations_come_in_the_order_of_the_requests(engine: Engine, merged: Merged) -> None:
    adapters = [merged(1), None, merged(2), None, merged(1)]
    requests = [ask(engine, "abc" * (5 - i), adapter=adapter) for i, adapter in enumerate(adapters)]
    together = engine.generate(requests, Sampling(6))
    alone = [engine.generate([request], Sampling(6))[0] for request in requests]
    assert together == alone
    assert len({generation.token_ids for generation in together}) == len(requests)


def test_no_requests_give_no_generations(engine: Engine) -> None:
    assert engine.generate([], Sampling(4)) == []


def test_a_seed_decides_the_text_whatever_else_is_in_the_batch(engine: Engine) -> None:
    requests = [ask(engine, "The same prompt", seed=seed) for seed in (1, 2, 1, 3)]
    sampling = Sampling(8, temperature=0.7, top_k=50)
    first, second, again, third = engine.generate(requests, sampling)
    assert first == again == engine.generate(requests[:1], sampling)[0]
    assert len({first.text, second.text, third.text}) == 3


def test_top_k_of_one_is_greedy(engine: Engine) -> None:
    request = ask(engine, "Hello", seed=5)
    assert engine.generate([request], Sampling(6, temperature=2.0, top_k=1)) == engine.generate(
        [request], Sampling(6)
    )


@pytest.mark.parametrize("how", [{}, {"temperature": 1.5, "top_k": 20}])
def test_a_tokens_probability_is_the_models_own_whatever_the_sampling(
    engine: Engine, tiny_model: Path, merged: Merged, how: dict[str, Any]
) -> None:
    """Against one forward pass over prompt and answer, the adapter's delta added to the weights by hand."""
    adapter = merged(1, 2)
    requests = [ask(engine, "Hello", seed=3), Request(ask(engine, "Where to?").token_ids, adapter, seed=4)]
    for request, done in zip(
        requests, engine.generate(requests, Sampling(6, probabilities=True, **how)), strict=True
    ):
        model: Any = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
        for name, (a, b) in adapter.factors.items() if request.adapter else ():
            model.get_submodule(name).weight.data += torch.from_numpy(b @ a)
        with torch.no_grad():
            logits_tv = model(torch.tensor([[*request.token_ids, *done.token_ids]])).logits[0]
        steps_nv = logits_tv[len(request.token_ids) - 1 : -1].softmax(-1)
        expected = [float(step[token]) for step, token in zip(steps_nv, done.token_ids, strict=True)]
        assert done.probabilities == pytest.approx(expected, abs=2e-3)
    assert engine.generate(requests[:1], Sampling(6))[0].probabilities is None


def test_a_schema_makes_json_without_free_white_space(engine: Engine) -> None:
    sampling = Sampling(60, temperature=1.0, json_schema=WORDS)
    for generation in engine.generate([ask(engine, f"Prompt {i}", seed=i) for i in range(3)], sampling):
        words = json.loads(generation.text)
        assert (
            generation.finish == "stop" and len(words) == 3 and set(words) <= {"north", "north-west", "south"}
        )
        assert generation.text == json.dumps(words)


def test_text_ends_before_a_stop_string(engine: Engine) -> None:
    (whole,) = engine.generate([ask(engine, "Hello")], Sampling(12))
    stop = whole.text[4:6]
    (cut,) = engine.generate([ask(engine, "Hello")], Sampling(12, stop=(stop,)))
    assert (cut.text, cut.finish) == (whole.text[: whole.text.find(stop)], "stop")


def test_the_context_ends_a_generation(engine: Engine) -> None:
    request = Request(tuple(engine.tokenizer.encode("a")) * (engine.max_length - 3))
    (generation,) = engine.generate([request], Sampling(10))
    assert (len(generation.token_ids), generation.finish) == (3, "length")


def test_a_prompt_longer_than_the_context_is_refused_with_its_length(engine: Engine) -> None:
    request = Request(tuple(engine.tokenizer.encode("a")) * (engine.max_length + 5))
    with pytest.raises(
        EngineError, match=f"request 1: a prompt of {engine.max_length + 5} tokens.*{engine.max_length}"
    ):
        engine.generate([ask(engine, "fine"), request], Sampling(4))
    assert len(engine.generate([ask(engine, "fine")], Sampling(4))) == 1


def test_an_adapter_that_does_not_fit_is_refused_and_the_engine_lives(
    engine: Engine, layout: AdapterLayout, merged: Merged
) -> None:
    good = merged(1)
    name = layout.modules[0].name
    a, b = good.factors[name]
    broken = {
        "not finite": dict(good.factors) | {name: Factors(np.full_like(a, np.nan), b)},
        "expected|rank": dict(good.factors) | {name: Factors(a[:, :-1], b)},
        "modules": {key: value for key, value in good.factors.items() if key != name},
    }
    for i, (reason, factors) in enumerate(broken.items()):
        with pytest.raises(EngineError, match=reason):
            adapter = dataclasses.replace(good, name=f"broken-{i}", factors=factors)
            engine.generate([ask(engine, "Hello", adapter=adapter)], Sampling(4))
    with pytest.raises(EngineError, match=r"rank 8, .*up to 6"):
        engine.generate([ask(engine, "Hello", adapter=merged(1, 2, 3, 4))], Sampling(4))
    assert len(engine.generate([ask(engine, "Hello", adapter=good)], Sampling(4))) == 1


@pytest.mark.parametrize("kind", list(EngineKind))
def test_a_model_that_is_not_there_is_a_model_error(kind: EngineKind, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=str(tmp_path)):
        make_engine(EngineConfig(kind=kind), ModelConfig(str(tmp_path / "missing")))
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(ModelError, match="tokenizer"):
        make_engine(EngineConfig(kind=kind), ModelConfig(str(tmp_path)))


def greedy_and_seeded(engine: Engine) -> list[Generation]:
    requests = [ask(engine, text, seed=1) for text in ("abab" * 20, "Where does the river end?")]
    return [
        *engine.generate(requests, Sampling(12)),
        *engine.generate(requests, Sampling(12, temperature=0.9, top_k=50)),
    ]


def test_a_models_own_generation_settings_do_not_leak_into_transformers(
    oracle: Engine, opinionated_model: Path
) -> None:
    """Greedy decoding is greedy, and sampling is what was asked for."""
    config = EngineConfig(kind=EngineKind.transformers, dtype=Dtype.float32)
    assert greedy_and_seeded(make_engine(config, ModelConfig(str(opinionated_model)))) == greedy_and_seeded(
        oracle
    )


def foreign(layout: AdapterLayout) -> AdapterLayout:
    """The layout as a model has it that wraps the language model in another."""
    renamed = [
        dataclasses.replace(m, name=m.name.replace("model.layers", "model.language_model.layers"))
        for m in layout.modules
    ]
    return dataclasses.replace(layout, modules=tuple(renamed))


BOTH_SIDES = (
    r"model\.language_model\.layers\.0\.mlp\.gate_proj.*(?<!language_)model\.layers\.0\.(mlp|self_attn)"
)


def test_adapters_that_transformers_would_not_apply_are_refused_at_start(
    tiny_model: Path, layout: AdapterLayout
) -> None:
    """The error names the modules on both sides."""
    with pytest.raises(ModelError, match=BOTH_SIDES):
        make_engine(
            EngineConfig(kind=EngineKind.transformers),
            ModelConfig(str(tiny_model)),
            layout=foreign(layout),
            max_merged_rank=2,
        )


VLLM_ALONE = """
import json, sys
from prag_core.config.schema import Dtype, EngineConfig, EngineKind, ModelConfig
from prag_core.engines.base import Request, Sampling
from prag_core.engines.load import make_engine
from prag_core.errors import ModelError
from prag_core.models.lora import AdapterLayout
model, layout = ModelConfig(sys.argv[1]), json.loads(sys.argv[2])
layout = AdapterLayout.from_json(layout) if layout else None
config = EngineConfig(kind=EngineKind.vllm, dtype=Dtype.float32, max_sequences=2)
try:
    engine = make_engine(config, model, layout=layout, max_merged_rank=2)
except ModelError as error:
    print(json.dumps(str(error)))
else:
    prompt = tuple(engine.tokenizer.encode("abab" * 20))
    print(json.dumps(engine.generate([Request(prompt)], Sampling(12))[0].token_ids))
"""


def vllm_alone(model: Path, layout: AdapterLayout | None) -> Any:
    """What vLLM answers, or why it does not start: in a process of its own, which has room for one engine only."""
    arguments = [str(model), json.dumps(layout and layout.to_json())]
    done = subprocess.run(
        [sys.executable, "-c", VLLM_ALONE, *arguments], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_a_models_own_generation_settings_do_not_leak_into_vllm(
    oracle: Engine, opinionated_model: Path
) -> None:
    assert vllm_alone(opinionated_model, None) == list(greedy_and_seeded(oracle)[0].token_ids)


@pytest.mark.slow
def test_adapters_that_vllm_would_not_apply_are_refused_at_start(
    tiny_model: Path, layout: AdapterLayout
) -> None:
    """The error names the modules on both sides."""
    message = vllm_alone(tiny_model, foreign(layout))
    assert isinstance(message, str) and re.search(BOTH_SIDES, message)


@pytest.fixture(scope="module")
def thinker() -> PreTrainedTokenizerFast:
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens(["<think>", "</think>"])
    return tokenizer


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("Rome", "Rome"),
        ("<think>Is it? It is.</think>Rome", "Rome"),
        ("So it must be</think>Rome", "Rome"),
        ("<think>a</think>b<think>c</think>Rome", "Rome"),
        ("<think>Is it", ""),
        ("Rome <think>", "Rome <think>"),
        ("", ""),
    ],
)
def test_a_thought_before_an_answer_is_dropped_and_counted(
    thinker: PreTrainedTokenizerFast, said: str, answer: str
) -> None:
    ids = thinker.encode(said)
    done = finish_generation(thinker, ids, ("stop",), ended=True, probabilities=[0.5] * len(ids))
    assert (done.text, done.num_thought + len(done.token_ids)) == (answer, len(ids))
    assert done.probabilities is not None and len(done.probabilities) == len(done.token_ids)


def test_an_engine_without_a_layout_refuses_adapters(tiny_model: Path, merged: Merged) -> None:
    engine = make_engine(EngineConfig(kind=EngineKind.transformers), ModelConfig(str(tiny_model)))
    with pytest.raises(EngineError, match="without adapters"):
        engine.generate([ask(engine, "Hello", adapter=merged(1))], Sampling(4))
