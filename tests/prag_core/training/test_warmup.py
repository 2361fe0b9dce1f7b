"""The initial adapter that a warm-up trains, and the bank that starts from it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model

from examples.mini.warmup import warmup_questions
from prag_core.answering.registry import find_method
from prag_core.answering.tools import open_tools
from prag_core.bank import Bank, Stage, read_warm_start, write_warm_start
from prag_core.config.load import load_config
from prag_core.config.schema import Config, PromptConfig, TrainingConfig, WarmCount
from prag_core.corpus.reader import read_corpus
from prag_core.engines.base import Generation, Request, Sampling
from prag_core.errors import CorpusError, ModelError, StorageError
from prag_core.identity import content_hash
from prag_core.merging import merge_cat
from prag_core.models.base_model import BaseModel
from prag_core.models.lora import initial_factors, layout_of
from prag_core.models.prompts import answer_messages
from prag_core.planning.planner import make_plan
from prag_core.planning.recipe import prepare_recipe
from prag_core.records import Augmentation, QAPair, Question, Sample
from prag_core.retrieval import build_index
from prag_core.stages.shard import TrainStage
from prag_core.training.warmup import build_samples, describe_sources, train, training_settings, warm_up
from prag_core.training.warmup_questions import Lesson, read_questions

MINI = Path(__file__).resolve().parents[3] / "examples/mini"
TARGETS = ["gate_proj", "up_proj", "down_proj"]


@pytest.fixture
def base(tiny_model: Callable[..., Any], tiny_tokenizer: Any) -> BaseModel:
    tiny_tokenizer.eos_token = "<|end|>"
    model = tiny_model("llama", torch.float64, vocab_size=300)
    model.config.max_position_embeddings = 1024
    return BaseModel(model, tiny_tokenizer)


@pytest.mark.parametrize("cot", [False, True])
def test_a_sample_is_the_question_without_passages_and_its_answer_to_the_end(
    cot: bool, base: BaseModel
) -> None:
    lesson = Lesson("Where was Ada born ?", "She was born there. So the answer is Rome" if cot else "Rome")
    (sample,) = build_samples([lesson], base, PromptConfig(cot=cot), None)
    (asked,) = answer_messages("Where was Ada born?", (), cot=cot)
    said = f"Answer: {lesson.answer}." if cot else "The answer is Rome."
    expected = f"<|start|>user\n{asked['content']}<|end|>\n<|start|>assistant\n{said}<|end|>"
    assert base.tokenizer.decode(sample.token_ids) == expected
    assert sample.labels == sample.token_ids


def test_what_cannot_be_a_sample_is_named(base: BaseModel) -> None:
    with pytest.raises(CorpusError, match=r"'Where\?' has 1\d\d tokens .* context is 100; leave it out"):
        build_samples([Lesson("Where?", "There")], base, PromptConfig(), 100)
    base.tokenizer.eos_token = None
    with pytest.raises(ModelError, match="no eos_token"):
        build_samples([Lesson("Where?", "There")], base, PromptConfig(), None)


def test_it_trains_what_peft_trains_one_question_a_step(tiny_model: Callable[..., Any]) -> None:
    model = tiny_model("llama", torch.float64)
    layout = layout_of(model, rank=2, alpha=32.0, targets=TARGETS)
    initial = initial_factors(layout, seed=3)
    draw = np.random.default_rng(0)
    samples = [
        Sample(tokens, tokens)
        for n in (7, 12, 9, 7, 20)
        if (tokens := tuple(map(int, draw.integers(0, 64, n))))
    ]
    settings = TrainingConfig(epochs=2, learning_rate=1e-2)
    steps: list[int] = []
    ours = train(
        model, layout, initial, samples, settings, lambda _, done, total: steps.append(done + 100 * total)
    )

    wrapped: Any = get_peft_model(model, LoraConfig(r=2, lora_alpha=32, target_modules=TARGETS)).to(
        torch.float64
    )
    modules = {m.name: wrapped.base_model.model.get_submodule(m.name) for m in layout.modules}
    weights = {
        name: (module.lora_A["default"].weight, module.lora_B["default"].weight)
        for name, module in modules.items()
    }
    for name, (a, b) in weights.items():
        a.data.copy_(torch.as_tensor(initial[name].a))
        b.data.zero_()
    optimiser = torch.optim.AdamW([weight for pair in weights.values() for weight in pair], lr=1e-2)
    for sample in samples * 2:
        ids = torch.tensor([sample.token_ids])
        logits = wrapped(input_ids=ids).logits.double()
        torch.nn.functional.cross_entropy(logits[0, :-1], ids[0, 1:]).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        optimiser.zero_grad()
    for name, (a, b) in weights.items():
        np.testing.assert_allclose(ours.factors[name].a, a.detach().numpy(), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(ours.factors[name].b, b.detach().numpy(), rtol=1e-9, atol=1e-9)
        assert np.abs(ours.factors[name].b).max() > 1e-3
    assert steps == [step + 1000 for step in range(1, 11)] and ours.steps == 10


def test_training_that_diverges_says_which_setting_to_lower(tiny_model: Callable[..., Any]) -> None:
    model = tiny_model("llama")
    layout = layout_of(model, rank=2, alpha=32.0, targets=TARGETS)
    settings = TrainingConfig(learning_rate=1e30)
    with pytest.raises(ModelError, match=r"diverged.*lower warmup\.learning_rate"):
        train(model, layout, initial_factors(layout, 0), [Sample((1, 2, 3), (1, 2, 3))] * 5, settings)


def test_its_own_settings_count_and_the_objective_is_the_published_one() -> None:
    config = load_config(
        ["recipe=mini", "warmup.epochs=3", "training.beta1=0.8", "training.objective=distill"]
    )
    found = training_settings(config)
    assert (found.epochs, found.learning_rate, found.weight_decay, found.beta1) == (3, 3e-4, 0.01, 0.8)
    assert (found.objective, config.training.objective) == ("next_token", "distill")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Sixty questions about strangers, strong steps, and a corpus of six documents of the miniature world."""
    folder = tmp_path_factory.mktemp("warm")
    rows = itertools.islice(warmup_questions(strangers=True), 60)
    (folder / "questions.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (folder / "corpus.jsonl").write_text(
        "\n".join((MINI / "corpus.jsonl").read_text().splitlines()[:6]) + "\n"
    )
    settings = [f"warmup.questions={folder}/questions.jsonl", f"warmup.out={folder}/warm.safetensors"]
    settings += [
        "warmup.learning_rate=3e-3",
        "training.learning_rate=3e-3",
        f"corpus.uri={folder}/corpus.jsonl",
    ]
    settings += [f"bank.uri={folder}/bank", "engine.kind=transformers", "engine.dtype=float32"]
    config = load_config(settings)
    write_warm_start(config.warmup.out, warm_up(config).warm)
    return config


def test_a_warm_up_that_is_there_is_not_made_again_and_another_not_written_over(config: Config) -> None:
    there = read_warm_start(config.warmup.out)
    assert there is not None
    again = warm_up(config, lambda *_: pytest.fail("it was trained again"))
    assert again.reused and again.warm.sha256 == there.sha256 and again.warm.figures["steps"] == 60
    for setting, said in (("epochs", "epochs"), ("num_questions", "questions, num_questions")):
        other = load_config([f"warmup.{setting}=2", f"warmup.questions={config.warmup.questions}"])
        other.warmup.out, other.warmup.learning_rate = config.warmup.out, config.warmup.learning_rate
        with pytest.raises(StorageError, match=rf"differs in {said}; choose another name"):
            warm_up(other)


@pytest.fixture(scope="module")
def warm_bank(config: Config) -> Bank:
    """A bank whose documents start from it; what is written about them is made up here."""
    config.training.initial = config.warmup.out
    prepared = prepare_recipe(config)
    bank = Bank.create(config.bank.uri, prepared.recipe, prepared.layout, prepared.initial)
    plan = make_plan(config, bank, read_corpus(config.corpus), prepared, write=True)
    for shard in plan.shards:
        with bank.begin(Stage.augmentations, shard.shard_id) as writer:
            for document in bank.read_documents(shard.documents_object):
                pairs = (QAPair(f"What is {document.title}?", document.text.split()[0], document.text),)
                writer.add(
                    Augmentation(*document.key, content_hash(document), (document.text,), pairs, "by hand")
                )
            writer.commit()
        TrainStage(bank.uri, config).run(shard.shard_id, shard.documents_object)
    build_index(bank, bank.write_snapshot(plan.wanted()), config.retrieval)
    return bank


def test_a_bank_starts_from_it_and_says_so_in_its_recipe(config: Config, warm_bank: Bank) -> None:
    there, start = read_warm_start(config.warmup.out), warm_bank.warm_start()
    assert there is not None and start is not None
    assert warm_bank.recipe.fields["initial"] == {"kind": "warm", "sha256": there.sha256}
    assert start[0] == there.sha256


@pytest.mark.parametrize(("warm", "rank"), [(WarmCount.once, 8), (WarmCount.every, 6)])
def test_questions_are_answered_from_it_with_the_start_counted_as_asked(
    warm: WarmCount, rank: int, config: Config, warm_bank: Bank
) -> None:
    """What is merged adds, to a weight, Δ₀ + Σ (Δᵢ - Δ₀), or Σ Δᵢ; and the engine takes it."""
    config.merge.warm = warm
    titles = [document.title for document in read_corpus(config.corpus)]
    question = Question("q", f"What is {', '.join(titles[:3])}?", ("x",))
    with open_tools(config, {"": warm_bank.uri}) as tools:
        engine: Any = tools[""].engine
        asked: list[Request] = []
        generate = engine.generate

        def record(requests: Sequence[Request], sampling: Sampling) -> list[Generation]:
            asked.extend(requests)
            return list(generate(requests, sampling))

        engine.generate = record
        answers = [
            find_method(name).answer([question], tools[""])[0]
            for name in ("prag", "warm_only", "closed_book")
        ]
        source = tools[""].source
        documents = source.read(list(source.entries(answers[0].adapters).values()))[0].values()
    start = warm_bank.warm_start()
    assert start is not None and all(answer.text for answer in answers)
    merged, alone, closed = (request.adapter for request in asked)
    assert merged is not None and merged.rank == rank and alone is not None and closed is None
    origin = merge_cat([start], warm_bank.layout)
    assert alone.name == origin.name
    for m in warm_bank.layout.modules:
        deltas = [
            (one.b @ one.a) * warm_bank.layout.scaling for one in (factors[m.name] for factors in documents)
        ]
        zero = origin.factors[m.name].b @ origin.factors[m.name].a
        expected = zero + sum(delta - zero for delta in deltas) if warm is WarmCount.once else sum(deltas)
        pair = merged.factors[m.name]
        np.testing.assert_allclose(pair.b @ pair.a, expected, atol=1e-5)
        assert np.abs(zero).max() > 1e-4


def test_reasoning_of_the_model_itself_warms_up_too(config: Config, tmp_path: Path) -> None:
    """On questions about what it knows; those that it gets wrong are not learned."""
    known = list(itertools.islice(warmup_questions(), 6))
    known[2]["answers"] = known[4]["answers"] = ["another answer"]
    (tmp_path / "known.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in known))
    settings = [
        f"warmup.questions={tmp_path}/known.jsonl",
        f"warmup.out={tmp_path}/cot.safetensors",
        "prompt.cot=true",
    ]
    settings += [f"prompt.fewshot={MINI}/fewshot.jsonl", "engine.kind=transformers", "engine.dtype=float32"]
    made = warm_up(load_config(settings)).warm
    assert 1 <= made.figures["lessons"] <= 4 and made.figures["steps"] == made.figures["lessons"]
    other = read_warm_start(config.warmup.out)
    assert other is not None and made.made_from["questions"] != other.made_from["questions"]
    assert made.made_from["cot"]


def test_where_the_model_reasons_its_prompts_prefill_is_remembered(config: Config) -> None:
    questions = read_questions(config)

    def made_from(*settings: str) -> dict[str, Any]:
        return describe_sources(load_config(settings), questions)

    aligned = "prompt.prefill=aligned"
    assert made_from(aligned) == made_from()  # trained text is the same in both forms
    reasoned = made_from("prompt.cot=true")
    assert made_from("prompt.cot=true", aligned) == reasoned | {"prefill": "aligned"} != reasoned
