"""The oracle against its own oracle: PEFT's merge of the documents' adapters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from prag_core.engines.base import Request, Sampling
from prag_core.engines.transformers import SeededSampling, TransformersEngine
from prag_core.merging import MergedAdapter
from prag_core.models.lora import AdapterLayout
from prag_core.records import AdapterFactors

Merged = Callable[..., MergedAdapter]
Draw = Callable[[int], AdapterFactors]


def peft_merge(folder: Path, layout: AdapterLayout, draw: Draw, seeds: list[int]) -> torch.nn.Module:
    """The model with the documents' adapters loaded one by one and merged by PEFT itself."""
    config = LoraConfig(
        r=layout.rank, lora_alpha=int(layout.alpha), target_modules=[m.name for m in layout.modules]
    )
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa")
    model = get_peft_model(base, config, adapter_name=f"doc-{seeds[0]}")
    for seed in seeds:
        if f"doc-{seed}" not in model.peft_config:
            model.add_adapter(f"doc-{seed}", config)
        for name, factors in draw(seed).items():
            layer: Any = base.get_submodule(name)
            layer.lora_A[f"doc-{seed}"].weight.data = torch.from_numpy(factors.a)
            layer.lora_B[f"doc-{seed}"].weight.data = torch.from_numpy(factors.b)
    model.add_weighted_adapter(
        [f"doc-{s}" for s in seeds], [1.0] * len(seeds), "merged", combination_type="cat"
    )
    model.set_adapter("merged")
    return model.eval()


def test_a_merged_adapter_gives_the_logits_of_pefts_own_merge(
    oracle: TransformersEngine, tiny_model: Path, layout: AdapterLayout, draw: Draw, merged: Merged
) -> None:
    input_ids = torch.tensor([oracle.tokenizer.encode("Who wrote the book of the north?")])
    with torch.no_grad():
        bare = oracle.model(input_ids).logits
        for seeds in ([1, 2, 3], [4], [2, 5]):
            expected = peft_merge(tiny_model, layout, draw, seeds)(input_ids).logits
            with oracle.adapted(merged(*seeds)):
                found = oracle.model(input_ids).logits
            assert (expected - bare).abs().max() > 0.1
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_an_adapter_leaves_nothing_behind(oracle: TransformersEngine, merged: Merged) -> None:
    tokens = tuple(oracle.tokenizer.encode("Hello"))
    before = oracle.generate([Request(tokens)], Sampling(8))
    changed = oracle.generate([Request(tokens, merged(1, 2))], Sampling(8))
    assert changed != before
    assert oracle.generate([Request(tokens)], Sampling(8)) == before


def test_a_reading_has_the_last_layers_attention_and_the_entropies_before_each_token(
    oracle: TransformersEngine, tiny_model: Path, merged: Merged
) -> None:
    """Against a model that attends eagerly throughout, with the adapter's delta added to its weights by hand."""
    request = Request(tuple(oracle.tokenizer.encode("Who wrote it?")), merged(1, 2))
    before = oracle.generate([request], Sampling(8))
    reading = oracle.read(request, start=4)
    model: Any = AutoModelForCausalLM.from_pretrained(
        tiny_model, dtype=torch.float32, attn_implementation="eager"
    )
    for name, (a, b) in merged(1, 2).factors.items():
        model.get_submodule(name).weight.data += torch.from_numpy(b @ a)
    with torch.no_grad():
        expected = model(torch.tensor([request.token_ids]), output_attentions=True)
    attention_hnt = expected.attentions[-1][0, :, 4:]
    torch.testing.assert_close(torch.from_numpy(reading.attention_hnt), attention_hnt, rtol=1e-3, atol=1e-4)
    entropy_n = torch.distributions.Categorical(logits=expected.logits[0, 3:-1]).entropy()
    torch.testing.assert_close(torch.from_numpy(reading.entropy_n), entropy_n, rtol=1e-3, atol=1e-3)
    assert (
        oracle.generate([request], Sampling(8)) == before
        and oracle.model.config._attn_implementation == "sdpa"
    )


def test_sampling_draws_from_the_softmax_over_the_top_k() -> None:
    scores_nv = torch.tensor([[2.0, 1.0, 0.0, -1.0]]).repeat(4000, 1)
    drawn = SeededSampling(temperature=0.5, top_k=3, seeds=range(4000))(
        torch.zeros(4000, 1), scores_nv
    ).argmax(dim=-1)
    found = torch.bincount(drawn, minlength=4) / 4000
    expected = torch.softmax(torch.tensor([4.0, 2.0, 0.0, float("-inf")]), dim=-1)
    torch.testing.assert_close(found, expected, rtol=0, atol=0.03)
    assert found[3] == 0
