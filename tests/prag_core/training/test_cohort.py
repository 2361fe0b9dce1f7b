"""Documents trained together are the documents trained alone. Oracle: PEFT's LoRA, one document at a time, with
torch's AdamW and a cross-entropy computed in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.nn.functional import cross_entropy, kl_div
from transformers.models.llama import modeling_llama

from prag_core.config.schema import TrainingConfig
from prag_core.models.lora import AdapterLayout
from prag_core.records import IGNORED, AdapterFactors, Factors, Sample
from prag_core.training.cohort import train_cohort
from tests.prag_core.training.documents import TARGETS, TIGHT, assert_same, random_samples, start

TOKENS = torch.tensor([[3, 14, 15, 9]])
Gradients = dict[str, tuple[torch.Tensor, torch.Tensor]]


def with_teachers(documents: Sequence[Sequence[Sample]]) -> list[list[Sample]]:
    """The same, with labels on the last third of the tokens alone, and before them another context for the teacher: longer or
    shorter; the third sample's is its own."""

    def taught(sample: Sample, seed: int, own: bool) -> Sample:
        first = max(1, 2 * len(sample.token_ids) // 3)
        ((context,),) = random_samples([(4 + seed % 3 * 9,)], seed=seed)
        before = sample.token_ids[:first] if own else context.token_ids
        return Sample(
            sample.token_ids, (IGNORED,) * first + sample.labels[first:], before + sample.token_ids[first:]
        )

    return [
        [taught(sample, 7 * n + place + 1, own=place == 2) for place, sample in enumerate(document)]
        for n, document in enumerate(documents)
    ]


def train_with_peft(
    base: Any,
    layout: AdapterLayout,
    initial: AdapterFactors,
    samples: Sequence[Sample],
    settings: TrainingConfig,
) -> tuple[AdapterFactors, list[Gradients], list[float]]:
    """One document as PEFT trains it: final factors, the gradients of every step, the losses."""
    config = LoraConfig(
        r=layout.rank, lora_alpha=int(layout.alpha), target_modules=TARGETS, lora_dropout=0.0, bias="none"
    )
    model: Any = get_peft_model(base, config).to(next(base.parameters()).dtype)
    modules = {m.name: model.base_model.model.get_submodule(m.name) for m in layout.modules}
    pairs = {
        name: (module.lora_A["default"].weight, module.lora_B["default"].weight)
        for name, module in modules.items()
    }
    with torch.no_grad():
        for name, (a, b) in pairs.items():
            a.copy_(torch.as_tensor(initial[name].a))
            b.copy_(torch.as_tensor(initial[name].b))
    optimiser = torch.optim.AdamW([p for pair in pairs.values() for p in pair], lr=settings.learning_rate)
    history, losses = [], []
    for sample in [*samples] * settings.epochs:
        tokens = torch.tensor([sample.token_ids])
        labels = torch.tensor([sample.labels])
        output = model(input_ids=tokens, attention_mask=torch.ones_like(tokens), output_hidden_states=True)
        if sample.teacher_ids:
            loss = divergence_from_teacher(model, sample, output, settings.distill_hidden)
        else:
            loss = cross_entropy(output.logits.double()[0, :-1], labels[0, 1:])
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        history.append({name: (a.grad.clone(), b.grad.clone()) for name, (a, b) in pairs.items()})
        optimiser.step()
        losses.append(loss.item())
    factors = {
        name: Factors(a.detach().numpy().copy(), b.detach().numpy().copy()) for name, (a, b) in pairs.items()
    }
    model.unload()
    return factors, history, losses


def divergence_from_teacher(model: Any, sample: Sample, output: Any, hidden: float) -> torch.Tensor:
    """The distillation loss of one sample from whole logits and states; the teacher is the model without its adapter."""
    with torch.no_grad(), model.disable_adapter():
        teacher = model(input_ids=torch.tensor([sample.teacher_ids]), output_hidden_states=True)
    places = torch.tensor([t - 1 for t, label in enumerate(sample.labels) if label != IGNORED])
    moved = places + len(sample.teacher_ids) - len(sample.token_ids)
    log_q, log_p = (
        output.logits[0, places].double().log_softmax(1),
        teacher.logits[0, moved].double().log_softmax(1),
    )
    loss = kl_div(log_q, log_p, reduction="none", log_target=True).sum(1)
    for ours, theirs in zip(output.hidden_states[1:], teacher.hidden_states[1:], strict=True):
        distance = (ours[0, places] - theirs[0, moved]).abs().sum(1) / theirs[0, moved].abs().sum(1)
        loss = loss + hidden * distance / (len(output.hidden_states) - 1)
    return loss.mean()


def check_against_peft(model: Any, samples: Sequence[Sequence[Sample]], settings: TrainingConfig) -> None:
    """Train the documents together and, with PEFT, one by one: the same gradients at every step, weights, losses, counts."""
    layout, initial = start(model)
    seen: dict[int, list[Gradients]] = {n: [] for n in range(len(samples))}

    def observe(
        step: int, active: list[int], leaves: list[torch.Tensor], gradients: list[torch.Tensor]
    ) -> None:
        half = len(gradients) // 2
        for row, n in enumerate(active):
            assert len(seen[n]) == step
            named = zip(layout.modules, gradients[:half], gradients[half:], strict=True)
            seen[n].append({m.name: (a[row].clone(), b[row].T.clone()) for m, a, b in named})

    together = train_cohort(model, layout, initial, samples, settings, observe)
    for n, document in enumerate(samples):
        factors, history, losses = train_with_peft(model, layout, initial, document, settings)
        assert together[n].steps == len(losses) == len(seen[n])
        assert together[n].tokens == sum(len(sample.token_ids) for sample in document) * settings.epochs
        for ours, theirs in zip(seen[n], history, strict=True):
            for name in theirs:
                torch.testing.assert_close(ours[name], theirs[name], **TIGHT)
        assert_same(together[n].factors, factors)
        np.testing.assert_allclose(
            [together[n].loss_first, together[n].loss_last], [losses[0], losses[-1]], **TIGHT
        )
        moved = [np.abs(factors[m.name][1]).max() for m in layout.modules]
        assert min(moved) > 1e-4  # every module learned: the comparison is not of zeros


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "mistral"])
@pytest.mark.parametrize("epochs", [1, 2])
def test_together_equals_peft_alone_in_every_gradient_and_the_final_weights(
    tiny_model: Callable[..., Any], family: str, epochs: int
) -> None:
    settings = TrainingConfig(epochs=epochs, learning_rate=1e-2)
    check_against_peft(tiny_model(family, torch.float64), random_samples(), settings)


@pytest.mark.parametrize("hidden", [0.0, 0.5])
@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_distillation_together_equals_peft_alone_with_its_adapter_off_for_the_teacher(
    tiny_model: Callable[..., Any], family: str, hidden: float
) -> None:
    settings = TrainingConfig(objective="distill", distill_hidden=hidden, epochs=2, learning_rate=1e-2)
    check_against_peft(tiny_model(family, torch.float64), with_teachers(random_samples()), settings)


@pytest.mark.slow
def test_compiled_training_equals_peft_too(
    tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With norms and angles as wide as the model: transformers computes them in float32, where compiled sums round otherwise."""

    def norm(self: Any, x_ntd: torch.Tensor) -> torch.Tensor:
        return self.weight * x_ntd * torch.rsqrt(x_ntd.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)

    def rotary(
        self: Any, x_ntd: torch.Tensor, position_ids: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        angles = position_ids.unsqueeze(-1).to(x_ntd.dtype) * self.inv_freq.to(x_ntd.dtype)
        angles = torch.cat((angles, angles), -1)
        return angles.cos(), angles.sin()

    monkeypatch.setattr(modeling_llama.LlamaRMSNorm, "forward", norm)
    monkeypatch.setattr(modeling_llama.LlamaRotaryEmbedding, "forward", rotary)
    model = tiny_model("llama", torch.float64)
    check_against_peft(
        model, random_samples([(9, 12), (14, 6)]), TrainingConfig(compile=True, learning_rate=1e-2)
    )
    assert "forward" not in vars(model.base_model)


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_order_and_size_of_the_cohort_change_nothing(tiny_model: Callable[..., Any], family: str) -> None:
    model = tiny_model(family, torch.float64)
    layout, initial = start(model)
    samples = random_samples()
    settings = TrainingConfig(learning_rate=1e-2)
    together = train_cohort(model, layout, initial, samples, settings)
    order = [3, 0, 4, 2, 1]
    permuted = train_cohort(model, layout, initial, [samples[n] for n in order], settings)
    for place, n in enumerate(order):
        assert_same(permuted[place].factors, together[n].factors)
    for group in ([0, 1], [2], [3, 4]):
        for n, document in zip(
            group, train_cohort(model, layout, initial, [samples[n] for n in group], settings), strict=True
        ):
            assert_same(document.factors, together[n].factors)
            assert (document.steps, document.tokens) == (together[n].steps, together[n].tokens)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_document_that_is_done_is_not_touched_by_a_single_bit(
    tiny_model: Callable[..., Any], dtype: torch.dtype
) -> None:
    model = tiny_model("llama", dtype)
    layout, initial = start(model)
    long, short = random_samples([(20, 9, 14, 33, 8), (12, 16)])
    settings = TrainingConfig(learning_rate=1e-2)
    goes_on = train_cohort(model, layout, initial, [long, short], settings)
    both_stop = train_cohort(model, layout, initial, [long[:2], short], settings)
    for name in initial:
        for one, other in zip(goes_on[1].factors[name], both_stop[1].factors[name], strict=True):
            assert one.tobytes() == other.tobytes()
        assert (
            goes_on[0].factors[name].b.tobytes() != both_stop[0].factors[name].b.tobytes()
        )  # the long one did go on


def test_the_base_is_left_as_it_was(tiny_model: Callable[..., Any]) -> None:
    model = tiny_model("llama")
    layout, initial = start(model)
    weights, logits = {k: v.clone() for k, v in model.state_dict().items()}, model(input_ids=TOKENS).logits
    train_cohort(model, layout, initial, random_samples(), TrainingConfig(learning_rate=1e-2))
    assert all(torch.equal(v, weights[k]) for k, v in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(model(input_ids=TOKENS).logits, logits)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-3), (torch.bfloat16, 0.25)])
def test_lower_precision_trains_nearly_the_same(
    tiny_model: Callable[..., Any], dtype: torch.dtype, tolerance: float
) -> None:
    samples, settings = random_samples(), TrainingConfig(epochs=2)
    exact_model, model = tiny_model("llama", torch.float64), tiny_model("llama", dtype)
    layout, initial = start(model)
    exact = train_cohort(exact_model, layout, initial, samples, settings)
    for ours, theirs in zip(train_cohort(model, layout, initial, samples, settings), exact, strict=True):
        assert ours.loss_last == pytest.approx(theirs.loss_last, rel=max(tolerance / 10, 1e-4))
        moved = {name: theirs.factors[name].b for name in initial}
        off = sum(float(np.square(ours.factors[name].b - b).sum()) for name, b in moved.items())
        assert off <= tolerance**2 * sum(float(np.square(b).sum()) for b in moved.values())
        assert all(factor.dtype == np.float32 for pair in ours.factors.values() for factor in pair)


def test_settings_of_the_optimiser_are_those_of_torch(tiny_model: Callable[..., Any]) -> None:
    model = tiny_model("llama", torch.float64)
    layout, initial = start(model)
    (document,) = random_samples([(9, 12, 7)])
    settings = TrainingConfig(learning_rate=3e-2, beta1=0.7, beta2=0.95, eps=1e-3, weight_decay=0.3)
    seen: list[list[torch.Tensor]] = []
    observe = lambda *step: seen.append([gradient.clone() for gradient in step[3]])  # noqa: E731
    (trained,) = train_cohort(model, layout, initial, [document], settings, observe)
    factors = [torch.as_tensor(initial[m.name].a).double() for m in layout.modules]
    factors += [torch.as_tensor(initial[m.name].b.T.copy()).double() for m in layout.modules]
    optimiser = torch.optim.AdamW(factors, lr=3e-2, betas=(0.7, 0.95), eps=1e-3, weight_decay=0.3)
    for gradients in seen:
        for factor, gradient in zip(factors, gradients, strict=True):
            factor.grad = gradient[0]
        optimiser.step()
    for m, a, b in zip(layout.modules, factors, factors[len(layout.modules) :], strict=False):
        np.testing.assert_allclose(trained.factors[m.name].a, a.numpy(), **TIGHT)
        np.testing.assert_allclose(trained.factors[m.name].b, b.numpy().T, **TIGHT)


def test_the_default_settings_are_the_published_recipe() -> None:
    settings = TrainingConfig()
    assert (settings.objective, settings.epochs, settings.learning_rate) == ("next_token", 1, 3e-4)
    assert (settings.beta1, settings.beta2, settings.eps, settings.weight_decay) == (0.9, 0.999, 1e-8, 0.01)
    assert (settings.rank, settings.alpha, settings.targets) == (2, 32.0, TARGETS)
