"""A merged adapter's folder is what PEFT loads, with its scaling in the factors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from peft import PeftModel
from transformers import LlamaForCausalLM

from prag_core.engines.adapter_files import write_peft
from prag_core.engines.transformers import TransformersEngine
from prag_core.merging import MergedAdapter


def test_peft_loads_the_folder_and_gives_the_engines_logits(
    tiny_model: Path, oracle: TransformersEngine, merged: Callable[..., MergedAdapter], tmp_path: Path
) -> None:
    adapter = merged(1, 2)
    write_peft(adapter, tmp_path / "adapter")
    loaded = PeftModel.from_pretrained(
        LlamaForCausalLM.from_pretrained(tiny_model), str(tmp_path / "adapter")
    )
    input_ids = torch.tensor([oracle.tokenizer.encode("Where to?")])
    with torch.no_grad(), oracle.adapted(adapter):
        torch.testing.assert_close(
            loaded.eval()(input_ids).logits, oracle.model(input_ids).logits, rtol=1e-4, atol=1e-4
        )
