"""A layout is what PEFT would adapt, in a fixed order, and says whether factors fit it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from prag_core.errors import ModelError
from prag_core.models.lora import (
    AdapterLayout,
    ModuleShape,
    check_factors,
    initial_factors,
    layout_of,
    partly_adapted,
)
from prag_core.records import Factors

TARGETS = ["gate_proj", "up_proj", "down_proj"]
LAYOUT = AdapterLayout((ModuleShape("up_proj", 4, 3), ModuleShape("down_proj", 3, 4)), rank=2, alpha=32.0)


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "mistral"])
def test_the_layout_of_a_model_is_pefts_own(family: str, tiny_model: Callable[..., Any]) -> None:
    from peft import LoraConfig, get_peft_model

    layout = layout_of(tiny_model(family), rank=3, alpha=6.0, targets=TARGETS)
    peft = get_peft_model(tiny_model(family), LoraConfig(r=3, lora_alpha=6, target_modules=TARGETS))
    theirs = {name: tuple(p.shape) for name, p in peft.named_parameters() if "lora_" in name}
    ours = {}
    for name, shape_a, shape_b in layout.shapes():
        ours[f"base_model.model.{name}.lora_A.default.weight"] = shape_a
        ours[f"base_model.model.{name}.lora_B.default.weight"] = shape_b
    assert list(ours.items()) == list(theirs.items())
    assert layout.num_parameters == sum(p.numel() for p in peft.parameters() if p.requires_grad)
    assert layout.scaling == 2.0


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        (["c_fc"], r"no linear modules named c_fc; its own are down_proj, gate_proj, .*v_proj"),
        (["gate_proj", "upp_proj"], r"named upp_proj; did you mean up_proj\?"),
        (["lm_head"], "named lm_head"),
        (["embed_tokens"], "named embed_tokens"),
    ],
)
def test_a_target_that_no_module_has_is_refused_with_the_nearest(
    tiny_model: Callable[..., Any], targets: list[str], said: str
) -> None:
    with pytest.raises(ModelError, match=rf"training\.targets: LlamaForCausalLM has .*{said}"):
        layout_of(tiny_model("llama"), rank=2, alpha=4.0, targets=targets)


def test_published_targets_are_refused_where_a_family_fuses_them_and_the_fused_name_is_adapted(
    tiny_model: Callable[..., Any],
) -> None:
    model = tiny_model("phi3")
    with pytest.raises(ModelError, match=r"Phi3ForCausalLM .* gate_proj; did you mean gate_up_proj\?"):
        layout_of(model, rank=2, alpha=4.0, targets=TARGETS)
    layout = layout_of(model, rank=2, alpha=4.0, targets=["gate_up_proj", "down_proj"])
    assert layout.target_modules == ["down_proj", "gate_up_proj"] and len(layout.modules) == 4
    assert partly_adapted(layout, num_layers=2) == []


def test_a_target_that_some_layers_lack_is_told_with_their_number(tiny_model: Callable[..., Any]) -> None:
    blocks = tuple(ModuleShape(f"model.layers.{layer}.self_attn.q_proj", 4, 4) for layer in (3, 7))
    every = tuple(ModuleShape(f"model.layers.{layer}.mlp.experts.0.up_proj", 4, 4) for layer in range(8))
    layout = AdapterLayout((*blocks, *every), rank=2, alpha=4.0)
    (line,) = partly_adapted(layout, num_layers=8)
    assert line.startswith("training.targets: q_proj is in 2 of the model's 8 layers")


def test_a_layout_survives_json() -> None:
    import json

    assert AdapterLayout.from_json(json.loads(json.dumps(LAYOUT.to_json()))) == LAYOUT


def test_the_size_of_the_published_adapters() -> None:
    blocks = tuple(ModuleShape(f"{i}.{name}", 2048, 8192) for i in range(16) for name in TARGETS)
    assert AdapterLayout(blocks, rank=2, alpha=32.0).num_parameters == 983_040  # Llama-3.2-1B


def test_the_initial_adapter_changes_nothing_and_is_fixed_by_its_seed() -> None:
    factors = initial_factors(LAYOUT, seed=7)
    check_factors(factors, LAYOUT)
    for name, module in zip(factors, LAYOUT.modules, strict=True):
        a, b = factors[name]
        assert not b.any() and a.dtype == b.dtype == np.float32
        assert 0 < np.abs(a).max() <= module.in_features**-0.5, "Kaiming's bound for a = √5"
    again, other = initial_factors(LAYOUT, seed=7), initial_factors(LAYOUT, seed=8)
    assert all((again[name].a == factors[name].a).all() for name in factors)
    assert all((other[name].a != factors[name].a).any() for name in factors)


def test_the_initial_adapter_does_not_touch_torchs_own_generator() -> None:
    import torch

    before = torch.get_rng_state()
    initial_factors(LAYOUT, seed=7)
    assert torch.equal(torch.get_rng_state(), before)


def test_factors_that_do_not_fit_are_refused_by_name() -> None:
    good = dict(initial_factors(LAYOUT, seed=0))
    check_factors(good, LAYOUT)
    with pytest.raises(ModelError, match="1 modules, the model's layout has 2"):
        check_factors({"up_proj": good["up_proj"]}, LAYOUT)
    with pytest.raises(ModelError, match="differ in name"):
        check_factors(dict(reversed(good.items())), LAYOUT)
    with pytest.raises(ModelError, match=r"up_proj: factors \(1, 4\)"):
        check_factors(good | {"up_proj": Factors(good["up_proj"].a[:1], good["up_proj"].b)}, LAYOUT)
    for bad in (np.nan, np.inf):
        with pytest.raises(ModelError, match="down_proj: factors are not finite"):
            check_factors(
                good | {"down_proj": Factors(good["down_proj"].a, np.full((4, 2), bad, np.float32))}, LAYOUT
            )
