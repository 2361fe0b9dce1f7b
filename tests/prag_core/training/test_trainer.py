"""Documents trained together are the documents trained alone. Oracle: PEFT's LoRA, one document at a time, with
torch's AdamW and a cross-entropy computed in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.nn.functional import cross_entropy, kl_div
from transformers.models.llama import modeling_llama

from prag_core.config.schema import TrainingConfig
from prag_core.errors import ConfigError
from prag_core.models.lora import AdapterLayout, check_factors, initial_factors, layout_of
from prag_core.records import IGNORED, Adapter, AdapterFactors, Factors, Failure, Sample
from prag_core.training import trainer
from prag_core.training.objectives import OBJECTIVES, Batch, next_token
from prag_core.training.trainer import (
    TrainedDocument,
    TrainingItem,
    TrainingSettings,
    train_cohort,
    train_documents,
)

TARGETS = ["gate_proj", "up_proj", "down_proj"]
TIGHT: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-9}
TOKENS = torch.tensor([[3, 14, 15, 9]])
LENGTHS = [
    (9, 17, 5, 12, 30),
    (3, 4),
    (21, 8, 8),
    (2,),
    (40, 11, 6, 7, 19),
]  # tokens of each sample of each document
Gradients = dict[str, tuple[torch.Tensor, torch.Tensor]]


def random_samples(
    lengths: Sequence[Sequence[int]] = LENGTHS, vocab_size: int = 64, seed: int = 0
) -> list[list[Sample]]:
    generator = np.random.default_rng(seed)

    def sample(length: int) -> Sample:
        tokens = tuple(int(token) for token in generator.integers(0, vocab_size, length))
        return Sample(tokens, tokens)

    return [[sample(length) for length in document] for document in lengths]


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


def start(model: Any, rank: int = 2) -> tuple[AdapterLayout, AdapterFactors]:
    layout = layout_of(model, rank=rank, alpha=32.0, targets=TARGETS)
    return layout, initial_factors(layout, seed=1)


def train_with_peft(
    base: Any,
    layout: AdapterLayout,
    initial: AdapterFactors,
    samples: Sequence[Sample],
    settings: TrainingSettings,
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


def assert_same(left: AdapterFactors, right: AdapterFactors) -> None:
    assert list(left) == list(right)
    for name in left:
        for one, other in zip(left[name], right[name], strict=True):
            np.testing.assert_allclose(one, other, **TIGHT)


def check_against_peft(model: Any, samples: Sequence[Sequence[Sample]], settings: TrainingSettings) -> None:
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
    settings = TrainingSettings(epochs=epochs, learning_rate=1e-2)
    check_against_peft(tiny_model(family, torch.float64), random_samples(), settings)


@pytest.mark.parametrize("hidden", [0.0, 0.5])
@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_distillation_together_equals_peft_alone_with_its_adapter_off_for_the_teacher(
    tiny_model: Callable[..., Any], family: str, hidden: float
) -> None:
    settings = TrainingSettings(objective="distill", distill_hidden=hidden, epochs=2, learning_rate=1e-2)
    check_against_peft(tiny_model(family, torch.float64), with_teachers(random_samples()), settings)


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
        model, random_samples([(9, 12), (14, 6)]), TrainingSettings(compile=True, learning_rate=1e-2)
    )
    assert "forward" not in vars(model.base_model)


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_order_and_size_of_the_cohort_change_nothing(tiny_model: Callable[..., Any], family: str) -> None:
    model = tiny_model(family, torch.float64)
    layout, initial = start(model)
    samples = random_samples()
    settings = TrainingSettings(learning_rate=1e-2)
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
    settings = TrainingSettings(learning_rate=1e-2)
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
    train_cohort(model, layout, initial, random_samples(), TrainingSettings(learning_rate=1e-2))
    assert all(torch.equal(v, weights[k]) for k, v in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(model(input_ids=TOKENS).logits, logits)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-3), (torch.bfloat16, 0.25)])
def test_lower_precision_trains_nearly_the_same(
    tiny_model: Callable[..., Any], dtype: torch.dtype, tolerance: float
) -> None:
    samples, settings = random_samples(), TrainingSettings(epochs=2)
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
    settings = TrainingSettings(learning_rate=3e-2, beta1=0.7, beta2=0.95, eps=1e-3, weight_decay=0.3)
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


def items(samples: Sequence[Sequence[Sample]]) -> list[TrainingItem]:
    return [TrainingItem((f"d{n}", 0), f"hash{n}", document) for n, document in enumerate(samples)]


@pytest.mark.parametrize("cohort_documents", [1, 2, None])
def test_every_document_comes_back_once_as_if_alone(
    tiny_model: Callable[..., Any], cohort_documents: int | None
) -> None:
    model = tiny_model("llama", torch.float64)
    layout, initial = start(model)
    samples = random_samples()
    settings = TrainingSettings(learning_rate=1e-2, cohort_documents=cohort_documents)
    adapters = {
        record.doc_id: record
        for record in train_documents(model, layout, initial, iter(items(samples)), settings)
    }
    assert sorted(adapters) == ["d0", "d1", "d2", "d3", "d4"]
    for n, document in enumerate(samples):
        adapter = adapters[f"d{n}"]
        assert isinstance(adapter, Adapter)
        (alone,) = train_cohort(model, layout, initial, [document], settings)
        assert (adapter.key, adapter.content_hash) == ((f"d{n}", 0), f"hash{n}")
        assert (adapter.steps, adapter.tokens) == (alone.steps, alone.tokens)
        assert adapter.loss_last == pytest.approx(alone.loss_last, rel=1e-9)
        check_factors(adapter.factors, layout)
        for name, pair in adapter.factors.items():
            for ours, theirs in zip(pair, alone.factors[name], strict=True):
                assert ours.dtype == np.float32
                np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_cohorts_are_of_like_documents_and_of_the_size_set(
    tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model("llama")
    layout, initial = start(model)
    samples = random_samples([(8, 8), (30, 30), (9, 9), (31, 31), (5, 5, 5)])
    cohorts = record_cohorts(monkeypatch)
    list(train_documents(model, layout, initial, items(samples), TrainingSettings(cohort_documents=2)))
    assert cohorts == [[(5, 5, 5), (31, 31)], [(30, 30), (9, 9)], [(8, 8)]]


def test_items_are_taken_only_some_cohorts_ahead(tiny_model: Callable[..., Any]) -> None:
    model = tiny_model("llama")
    layout, initial = start(model)
    taken: list[int] = []

    def stream() -> Iterator[TrainingItem]:
        for n, item in enumerate(items(random_samples([(5,)] * 40))):
            taken.append(n)
            yield item

    records = train_documents(model, layout, initial, stream(), TrainingSettings(cohort_documents=2))
    next(records)
    assert (
        len(taken) <= (trainer.WAITING_COHORTS + 1) * 2
    )  # two cohorts were trained: the first's records are out
    assert len(list(records)) == 39 and len(taken) == 40


def test_one_long_document_does_not_make_every_cohort_small(
    tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model("llama")
    layout, initial = start(model)
    monkeypatch.setattr(
        trainer, "choose_cohort_size", lambda model, layout, max_tokens: max(1, 40 // max_tokens)
    )
    cohorts = record_cohorts(monkeypatch)
    list(
        train_documents(
            model,
            layout,
            initial,
            items(random_samples([(9,), (10,), (10,), (40,), (10,)])),
            TrainingSettings(),
        )
    )
    assert cohorts == [[(40,)], [(10,), (10,), (10,), (9,)]]


def test_a_cohort_that_does_not_fit_is_halved(
    tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model("llama")
    layout, initial = start(model)
    cohorts = record_cohorts(monkeypatch, largest=2)
    records = list(
        train_documents(model, layout, initial, items(random_samples()), TrainingSettings(cohort_documents=5))
    )
    assert {record.doc_id for record in records} == {"d0", "d1", "d2", "d3", "d4"}
    assert [len(cohort) for cohort in cohorts] == [5, 2, 2, 1]
    record_cohorts(monkeypatch, largest=0)
    with pytest.raises(torch.OutOfMemoryError):
        list(train_documents(model, layout, initial, items(random_samples()), TrainingSettings()))


def record_cohorts(monkeypatch: pytest.MonkeyPatch, largest: int = 99) -> list[list[tuple[int, ...]]]:
    """Note the sample lengths of every cohort trained; more than `largest` documents do not fit."""
    cohorts: list[list[tuple[int, ...]]] = []

    def spy(
        model: Any, layout: Any, initial: Any, samples: Sequence[Sequence[Sample]], *rest: Any
    ) -> list[TrainedDocument]:
        cohorts.append([tuple(len(s.token_ids) for s in document) for document in samples])
        if len(samples) > largest:
            raise torch.OutOfMemoryError("too many")
        return train_cohort(model, layout, initial, samples, *rest)

    monkeypatch.setattr(trainer, "train_cohort", spy)
    return cohorts


def test_a_document_that_diverges_is_quarantined_and_harms_no_other(
    tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def poisoned(model: Any, batch: Batch) -> torch.Tensor:
        factor_n = [
            torch.nan if tuple(row[: len(bad)]) == bad else 1.0 for row in batch.token_ids_nt.tolist()
        ]
        return next_token(model, batch) * torch.tensor(factor_n)

    model = tiny_model("llama", torch.float64)
    layout, initial = start(model)
    samples = random_samples()
    bad = samples[2][1].token_ids
    monkeypatch.setitem(OBJECTIVES, "poisoned", poisoned)
    healthy, records = (
        {
            r.doc_id: r
            for r in train_documents(model, layout, initial, items(samples), TrainingSettings(objective=name))
        }
        for name in ("next_token", "poisoned")
    )
    failure = records.pop("d2")
    assert isinstance(failure, Failure)
    assert (failure.key, failure.content_hash, failure.stage) == (("d2", 0), "hash2", "train")
    assert "diverged" in failure.reason and "training.learning_rate" in failure.reason
    for doc_id, record in records.items():
        other = healthy[doc_id]
        assert isinstance(record, Adapter) and isinstance(other, Adapter)
        assert_same(record.factors, other.factors)


def test_the_default_settings_are_the_published_recipe() -> None:
    expected = TrainingSettings("next_token", 0.0, 1, 3e-4, 0.9, 0.999, 1e-8, 0.01, None, None)
    assert TrainingSettings.from_config(TrainingConfig()) == expected == TrainingSettings()
    changed: dict[str, Any] = {
        "epochs": 4,
        "beta1": 0.5,
        "beta2": 0.6,
        "eps": 1e-6,
        "cohort_documents": 3,
        "threads": 2,
    }
    assert TrainingSettings.from_config(TrainingConfig(**changed)) == TrainingSettings(**changed)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("objective", "nextoken"),
        ("distill_hidden", -0.5),
        ("epochs", 0),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("beta1", 1.0),
        ("beta2", -0.1),
        ("eps", 0.0),
        ("weight_decay", -1.0),
        ("cohort_documents", 0),
        ("threads", 0),
    ],
)
def test_a_setting_out_of_range_is_named(setting: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"training\.{setting}={value}: "):
        TrainingSettings.from_config(TrainingConfig(**{setting: value}))


def test_threads_are_set_for_training(
    tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model("llama")
    layout, initial = start(model)
    asked: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    list(train_documents(model, layout, initial, items(random_samples([(5,)])), TrainingSettings(threads=3)))
    list(train_documents(model, layout, initial, items(random_samples([(5,)])), TrainingSettings()))
    assert asked == [3]
