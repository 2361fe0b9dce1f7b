from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from prag_core.bank import Bank, export_adapter, export_initial
from prag_core.errors import BankError, StorageError
from prag_core.models.lora import AdapterLayout, layout_of
from prag_core.records import AdapterFactors, Factors
from tests.prag_core.bank.world import Filled, World

IDS = torch.tensor([[1, 5, 9, 2, 33, 4]])


def random_factors(layout: AdapterLayout, seed: int) -> AdapterFactors:
    draw = np.random.default_rng(seed)
    return {
        n: Factors(draw.normal(size=a).astype("f4"), 0.1 * draw.normal(size=b).astype("f4"))
        for n, a, b in layout.shapes()
    }


def merged_by_hand(model: Any, layout: AdapterLayout, factors: AdapterFactors) -> torch.Tensor:
    changed = copy.deepcopy(model)
    for name, (a, b) in factors.items():
        changed.get_submodule(name).weight.data += layout.scaling * torch.from_numpy(b @ a)
    return changed(IDS).logits


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_peft_loads_an_export_and_gives_the_same_logits(
    tmp_path: Path,
    world: World,
    tiny_model: Callable[..., Any],
    family: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from peft import PeftModel

    model = tiny_model(family)
    world.layout = layout_of(model, rank=2, alpha=32.0, targets=["gate_proj", "up_proj", "down_proj"])
    monkeypatch.setattr(world, "factors", lambda seed: random_factors(world.layout, seed))
    filled = world.fill(world.bank(str(tmp_path / "bank")))
    export_adapter(filled.bank, ("b", 0), tmp_path / "b")
    export_initial(filled.bank, tmp_path / "init")
    for folder, factors in (("b", world.factors(1)), ("init", world.factors(999))):
        loaded = PeftModel.from_pretrained(copy.deepcopy(model), str(tmp_path / folder))
        expected = merged_by_hand(model, world.layout, factors)
        torch.testing.assert_close(loaded(IDS).logits, expected, rtol=1e-5, atol=1e-5)
        assert (expected - model(IDS).logits).abs().max() > 0.1


def test_a_folder_with_files_in_it_is_left_alone(filled: Filled, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("keep")
    with pytest.raises(StorageError, match="not an empty folder"):
        export_adapter(filled.bank, ("a", 0), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]
    (tmp_path / "empty").mkdir()
    export_adapter(filled.bank, ("a", 0), tmp_path / "empty")
    assert {path.name for path in (tmp_path / "empty").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }


def test_a_document_without_an_adapter_leaves_no_folder(filled: Filled, tmp_path: Path) -> None:
    with pytest.raises(BankError, match="no adapter of 'd'"):
        export_adapter(filled.bank, ("d", 0), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_bank_without_a_snapshot_says_so(tmp_path: Path, world: World) -> None:
    bank: Bank = world.bank(str(tmp_path / "bank"))
    with pytest.raises(BankError, match="no snapshot yet"):
        export_adapter(bank, ("a", 0), tmp_path / "out")
