"""Documents trained together are the documents trained alone. Oracle: PEFT's LoRA, one document at a time, with
torch's AdamW and a cross-entropy computed in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.nn.functional import cross_entropy

from prag_core.config import TrainingConfig
from prag_core.errors import ConfigError
from prag_core.lora import AdapterLayout, initial_factors, layout_of
from prag_core.records import Adapter, AdapterFactors, Failure, Sample
from prag_core.trainer import TrainedDocument, TrainingItem, TrainingSettings, train_cohort, train_documents

TARGETS = ["gate_proj", "up_proj", "down_proj"]
TIGHT = {"rtol": 1e-9, "atol": 1e-9}
LENGTHS = [(9, 17, 5, 12, 30), (3, 4), (21, 8, 8), (2,), (40, 11, 6, 7, 19)]  # tokens of each sample of each document
Gradients = dict[str, tuple[torch.Tensor, torch.Tensor]]


def random_samples(lengths: Sequence[Sequence[int]] = LENGTHS, vocab_size: int = 64, seed: int = 0) -> list[list[Sample]]:
    generator = np.random.default_rng(seed)

    def sample(length: int) -> Sample:
        tokens = tuple(int(token) for token in generator.integers(0, vocab_size, length))
        return Sample(tokens, tokens)

    return [[sample(length) for length in document] for document in lengths]


def start(model: Any, rank: int = 2) -> tuple[AdapterLayout, AdapterFactors]:
    layout = layout_of(model, rank=rank, alpha=32.0, targets=TARGETS)
    return layout, initial_factors(layout, seed=1)


def train_with_peft(
    base: Any, layout: AdapterLayout, initial: AdapterFactors, samples: Sequence[Sample], settings: TrainingSettings
) -> tuple[AdapterFactors, list[Gradients], list[float]]:
    """One document as PEFT trains it: final factors, the gradients of every step, the losses."""
    config = LoraConfig(r=layout.rank, lora_alpha=layout.alpha, target_modules=TARGETS, lora_dropout=0.0, bias="none")
    model = get_peft_model(base, config).to(next(base.parameters()).dtype)
    modules = {m.name: model.base_model.model.get_submodule(m.name) for m in layout.modules}
    pairs = {name: (module.lora_A["default"].weight, module.lora_B["default"].weight) for name, module in modules.items()}
    with torch.no_grad():
        for name, (a, b) in pairs.items():
            a.copy_(torch.as_tensor(initial[name].a))
            b.copy_(torch.as_tensor(initial[name].b))
    optimiser = torch.optim.AdamW([p for pair in pairs.values() for p in pair], lr=settings.learning_rate)
    history, losses = [], []
    for sample in [*samples] * settings.epochs:
        tokens = torch.tensor([sample.token_ids])
        labels = torch.tensor([sample.labels])
        logits = model(input_ids=tokens, attention_mask=torch.ones_like(tokens)).logits.double()
        loss = cross_entropy(logits[0, :-1], labels[0, 1:])
        optimiser.zero_grad()
        loss.backward()
        history.append({name: (a.grad.clone(), b.grad.clone()) for name, (a, b) in pairs.items()})
        optimiser.step()
        losses.append(loss.item())
    factors = {name: (a.detach().numpy().copy(), b.detach().numpy().copy()) for name, (a, b) in pairs.items()}
    model.unload()
    return factors, history, losses  # type: ignore[return-value]


def assert_same(left: AdapterFactors, right: AdapterFactors) -> None:
    assert list(left) == list(right)
    for name in left:
        for one, other in zip(left[name], right[name], strict=True):
            np.testing.assert_allclose(one, other, **TIGHT)


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "mistral"])
@pytest.mark.parametrize("epochs", [1, 2])
def test_together_equals_peft_alone_in_every_gradient_and_the_final_weights(
    tiny_model: Callable[..., Any], family: str, epochs: int
) -> None:
    model = tiny_model(family, torch.float64)
    layout, initial = start(model)
    samples = random_samples()
    settings = TrainingSettings(epochs=epochs, learning_rate=1e-2)
    seen: dict[int, list[Gradients]] = {n: [] for n in range(len(samples))}

    def observe(step: int, active: list[int], leaves: list[torch.Tensor], gradients: list[torch.Tensor]) -> None:
        half = len(gradients) // 2
        for row, n in enumerate(active):
            assert len(seen[n]) == step
            named = zip(layout.modules, gradients[:half], gradients[half:], strict=True)
            seen[n].append({m.name: (a[row].clone(), b[row].T.clone()) for m, a, b in named})

    together = train_cohort(model, layout, initial, samples, settings, observe)
    for n, document in enumerate(samples):
        factors, history, losses = train_with_peft(model, layout, initial, document, settings)
        assert together[n].steps == len(losses) == len(seen[n])
        assert together[n].tokens == sum(len(sample.token_ids) for sample in document) * epochs
        for ours, theirs in zip(seen[n], history, strict=True):
            for name in theirs:
                torch.testing.assert_close(ours[name], theirs[name], **TIGHT)
        assert_same(together[n].factors, factors)
        np.testing.assert_allclose([together[n].loss_first, together[n].loss_last], [losses[0], losses[-1]], **TIGHT)
        moved = [np.abs(factors[m.name][1]).max() for m in layout.modules]
        assert min(moved) > 1e-4  # every module learned: the comparison is not of zeros
