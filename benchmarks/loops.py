"""The two training loops that ours is compared with. Both train one document at a time with PEFT.

`published` is the reference code's loop as written: a fresh PEFT model for every document, float32, every sample padded
to 3,000 tokens, torch's default AdamW, the adapter saved as a folder. `fair` is a well-engineered loop without
training documents together: one PEFT model that is reset, no padding, fused AdamW, the base in its fastest dtype.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file

from prag_core.models.lora import AdapterLayout
from prag_core.records import IGNORED, AdapterFactors, Sample

PADDED = 3000
LEARNING_RATE = 3e-4


@dataclass
class Clock:
    """Seconds by part of the work, and the documents, tokens and losses of that work."""

    seconds: dict[str, float] = field(default_factory=dict)
    documents: int = 0
    tokens: int = 0
    losses: dict[int, float] = field(default_factory=dict)  # of each document's last step, by its number

    def add(self, part: str, start: float) -> float:
        """Add the time since `start` to a part. Return the time now."""
        now = time.perf_counter()
        self.seconds[part] = self.seconds.get(part, 0.0) + now - start
        return now

    def trained(self, number: int, tokens: int, loss: float) -> None:
        self.documents += 1
        self.tokens += tokens
        self.losses[number] = loss


def count_tokens(samples: Sequence[Sample]) -> int:
    return sum(len(sample.token_ids) for sample in samples)


def lora_config(layout: AdapterLayout) -> LoraConfig:
    targets = layout.target_modules
    return LoraConfig(
        r=layout.rank,
        lora_alpha=int(layout.alpha),
        target_modules=targets,
        lora_dropout=0.0,
        bias="none",
        task_type="CAUSAL_LM",
    )


def save_initial(model: Any, layout: AdapterLayout, folder: Path) -> Any:
    """Save the adapter that the published loop loads for every document. Return the bare model."""
    wrapped: Any = get_peft_model(model, lora_config(layout))
    wrapped.save_pretrained(folder)
    return wrapped.unload()


def published(
    model: Any, documents: Sequence[Sequence[Sample]], initial: Path, out: Path, clock: Clock
) -> Any:
    """Train and save an adapter for each document. Return the bare model."""
    device = next(model.parameters()).device
    for number, samples in enumerate(documents):
        start = time.perf_counter()
        peft: Any = PeftModel.from_pretrained(model, initial, is_trainable=True)
        optimiser = torch.optim.AdamW((p for p in peft.parameters() if p.requires_grad), lr=LEARNING_RATE)
        start = clock.add("load", start)
        loss = torch.zeros(())
        for sample in samples:
            length = len(sample.token_ids)
            tokens = torch.zeros(1, PADDED, dtype=torch.long)
            labels, mask = torch.full_like(tokens, IGNORED), torch.zeros_like(tokens)
            tokens[0, :length], labels[0, :length], mask[0, :length] = (
                torch.tensor(sample.token_ids),
                torch.tensor(sample.labels),
                1,
            )
            loss = peft(
                input_ids=tokens.to(device), attention_mask=mask.to(device), labels=labels.to(device)
            ).loss
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        clock.trained(number, count_tokens(samples), loss.item())
        start = clock.add("train", start)
        peft.save_pretrained(out / str(number))
        model = peft.unload()
        clock.add("write", start)
    return model


class FairLoop:
    """A loop over one PEFT model, which is reset to the initial adapter for every document."""

    def __init__(self, model: Any, layout: AdapterLayout, initial: AdapterFactors) -> None:
        self.peft: Any = get_peft_model(model, lora_config(layout))
        self.device = next(model.parameters()).device
        self.parameters: list[torch.nn.Parameter] = []
        self.initial: list[torch.Tensor] = []
        for m in layout.modules:
            module: Any = model.get_submodule(m.name)
            self.parameters += [module.lora_A["default"].weight, module.lora_B["default"].weight]
            self.initial += [torch.tensor(factor).to(self.device) for factor in initial[m.name]]

    def run(self, documents: Sequence[Sequence[Sample]], out: Path, clock: Clock) -> None:
        for number, samples in enumerate(documents):
            start = time.perf_counter()
            loss = self.train(samples)
            clock.trained(number, count_tokens(samples), loss.item())
            start = clock.add("train", start)
            tensors = [parameter.detach().cpu() for parameter in self.parameters]
            start = clock.add("extract", start)
            save_file({str(i): tensor for i, tensor in enumerate(tensors)}, out / f"{number}.safetensors")
            clock.add("write", start)

    def train(self, samples: Sequence[Sample]) -> torch.Tensor:
        with torch.no_grad():
            for parameter, value in zip(self.parameters, self.initial, strict=True):
                parameter.copy_(value)
        optimiser = torch.optim.AdamW(self.parameters, lr=LEARNING_RATE, fused=True)
        loss = torch.zeros(())
        for sample in samples:
            tokens = torch.tensor([sample.token_ids]).to(self.device)
            loss = self.peft(input_ids=tokens, labels=tokens, use_cache=False).loss
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return loss.detach()

    def close(self) -> Any:
        """Remove the adapter. Return the bare model."""
        return self.peft.unload()
