"""A recipe's name changes with everything that changes an adapter, and with nothing else."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prag_core.bank import WarmStart, write_warm_start
from prag_core.config.load import load_config
from prag_core.config.schema import Config, Prefill, PromptConfig
from prag_core.errors import ConfigError, ModelError
from prag_core.models.lora import AdapterLayout, ModuleShape, initial_factors
from prag_core.planning.recipe import build_recipe, prepare_recipe, recorded_prompt, writing_fields

LAYOUT = AdapterLayout((ModuleShape("up_proj", 4, 3),), rank=2, alpha=32.0)


def recipe_id(*settings: str, base: str = "m1", writer: str = "m1", layout: AdapterLayout = LAYOUT) -> str:
    return build_recipe(load_config(settings), base, writer, layout).id


@pytest.mark.parametrize(
    "setting",
    [
        "training.epochs=2",
        "training.learning_rate=1e-3",
        "training.beta1=0.8",
        "training.beta2=0.99",
        "training.eps=1e-6",
        "training.weight_decay=0",
        "training.dtype=bfloat16",
        "training.objective=distill",
        "training.seed=1",
        "prompt.with_title=true",
        "prompt.cot=true",
        "prompt.prefill=aligned",
        "augmentation.num_rewrites=2",
        "augmentation.num_qa_pairs=4",
        "augmentation.max_new_tokens=100",
        "augmentation.temperature=0",
        "augmentation.top_k=1",
        "augmentation.seed=1",
        "augmentation.method=answer_first",
        "augmentation.checks=drop",
    ],
)
def test_what_changes_an_adapter_changes_the_name(setting: str) -> None:
    assert recipe_id(setting) != recipe_id()


def test_the_models_and_the_parameterisation_are_in_the_name() -> None:
    wider = replace(LAYOUT, modules=(ModuleShape("up_proj", 4, 5),))
    names = [
        recipe_id(),
        recipe_id(base="m2"),
        recipe_id(writer="m2"),
        recipe_id(layout=replace(LAYOUT, rank=4)),
        recipe_id(layout=replace(LAYOUT, alpha=16.0)),
        recipe_id(layout=wider),
    ]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    "setting",
    [
        "bank.tier=int4",
        "bank.shard_documents=7",
        "bank.uri=elsewhere",
        "corpus.uri=elsewhere",
        "corpus.long_documents=chunk",
        "training.cohort_documents=3",
        "training.threads=1",
        "training.compile=true",
        "augmentation.engine=transformers",
        "augmentation.max_attempts=9",
        "augmentation.uri=elsewhere",
        "augmentation.echo_questions=false",  # of another method
        "model.path=elsewhere",
        "model.max_length=999",
        "retrieval.top_k=9",
        "engine.kind=transformers",
        "evaluate.seed=9",
        "ray.train_actors=2",
    ],
)
def test_what_changes_no_adapter_does_not_change_the_name(setting: str) -> None:
    assert recipe_id(setting) == recipe_id()


def test_an_exam_is_in_the_name_only_where_one_is_held() -> None:
    published = recipe_id()
    assert published == "1e15a98cdd10517539147930e5ad937ce597b2f0f79c9c35b26fa02a12683233", (
        "existing banks have another recipe"
    )
    assert recipe_id("acceptance.max_retries=5") == recipe_id("acceptance.threshold=null") == published
    held = [
        recipe_id(f"acceptance.threshold={t}", f"acceptance.max_retries={n}")
        for t in (0, 0.5, 1)
        for n in (0, 2)
    ]
    assert len({published, *held}) == 7


def test_every_setting_of_training_augmentation_and_prompt_is_decided_upon() -> None:
    """A new setting of these sections must be put into the recipe, or here with the reason it does not belong."""
    left_out = {
        "training": {
            "rank",
            "alpha",
            "targets",  # in the layout
            "replay_uri",
            "replay_samples",
            "initial",  # by content
            "cohort_documents",
            "threads",
            "compile",  # how, not what
            "distill_hidden",  # with its objective alone
        },
        "augmentation": {  # the model by digest; method and checks where they are not the published ones
            "engine",
            "model",
            "max_attempts",
            "uri",
            "method",
            "checks",
            "echo_questions",
        },
        "prompt": {"fewshot", "prefill"},  # by content; where it is not the published one
    }
    fields = build_recipe(Config(), "m", "m", LAYOUT).fields
    for section, names in left_out.items():
        settings = set(vars(getattr(Config(), section)))
        assert settings - names == set(fields[section]) - {"replay", "model", "templates", "fewshot"}, section


def test_settings_of_an_objective_are_in_the_name_with_it_alone() -> None:
    distill = "training.objective=distill"
    assert len({recipe_id(), recipe_id(distill), recipe_id(distill, "training.distill_hidden=1")}) == 3
    assert recipe_id("training.distill_hidden=1") == recipe_id()


def test_the_names_of_banks_that_exist_stay_as_they_are() -> None:
    """As of version 0.1.0: a bank made by then opens under the settings that it was made with."""
    assert recipe_id() == "1e15a98cdd10517539147930e5ad937ce597b2f0f79c9c35b26fa02a12683233"


def test_files_count_by_content_and_only_where_they_are_used(tmp_path: Path) -> None:
    first, copy, other = (tmp_path / name for name in ("first.jsonl", "copy.jsonl", "other.jsonl"))
    for path, text in ((first, "one"), (copy, "one"), (other, "two")):
        path.write_text(text)
    for setting, use in (
        ("training.replay_uri", "training.replay_samples=2"),
        ("prompt.fewshot", "prompt.cot=true"),
    ):
        assert recipe_id(f"{setting}={first}", use) == recipe_id(f"{setting}={copy}", use)
        assert recipe_id(f"{setting}={first}", use) != recipe_id(f"{setting}={other}", use)
        assert recipe_id(f"{setting}={first}") == recipe_id()
    replay = f"training.replay_uri={first}"
    assert recipe_id(replay, "training.replay_samples=2") != recipe_id(replay, "training.replay_samples=3")


def test_a_warm_start_counts_by_its_factors_and_without_one_nothing_changes(tmp_path: Path) -> None:
    def warm(name: str, seed: int, **figures: int) -> str:
        made = WarmStart(initial_factors(LAYOUT, seed), LAYOUT, "m1", {"seed": seed}, figures)
        write_warm_start(str(tmp_path / name), made)
        return f"training.initial={tmp_path / name}"

    first, copy, other = warm("first", 1), warm("copy", 1, steps=9), warm("other", 2)
    assert recipe_id(first) == recipe_id(copy) != recipe_id(other)
    assert recipe_id() not in (recipe_id(first), recipe_id(other))
    assert build_recipe(load_config([]), "m1", "m1", LAYOUT).fields["initial"] == {
        "kind": "kaiming_uniform",
        "seed": 0,
    }
    with pytest.raises(ConfigError, match="another base model"):
        recipe_id(first, base="m2")


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"training\.replay_uri=/nowhere\.jsonl"):
        recipe_id("training.replay_uri=/nowhere.jsonl", "training.replay_samples=1")


@pytest.fixture
def model_path(tmp_path: Path, tiny_model: Callable[..., Any], tiny_tokenizer: Any) -> str:
    model = tiny_model("llama", vocab_size=300)
    model.config.max_position_embeddings = 2048
    model.save_pretrained(tmp_path / "model")
    tiny_tokenizer.save_pretrained(tmp_path / "model")
    return str(tmp_path / "model")


def test_preparing_reads_config_and_tokenizer_but_no_weights(
    model_path: str, tiny_model: Callable[..., Any]
) -> None:
    Path(model_path, "model.safetensors").write_bytes(b"not weights at all")
    prepared = prepare_recipe(load_config([f"model.path={model_path}"]))
    assert prepared.num_parameters == sum(p.numel() for p in tiny_model("llama", vocab_size=300).parameters())
    assert [m.name for m in prepared.layout.modules][:2] == [
        "model.layers.0.mlp.gate_proj",
        "model.layers.0.mlp.up_proj",
    ]
    assert prepared.limit.budgets[0].max_tokens == 2048 - 512 - prepared.limit.budgets[0].overhead
    assert list(prepared.initial) == [m.name for m in prepared.layout.modules]


def test_another_model_that_writes_is_in_the_recipe_and_in_the_limit(
    model_path: str, tmp_path: Path, tiny_model: Callable[..., Any], tiny_tokenizer: Any
) -> None:
    writer = tiny_model("qwen2", vocab_size=300)
    writer.config.max_position_embeddings = 1536
    writer.save_pretrained(tmp_path / "writer")
    tiny_tokenizer.save_pretrained(tmp_path / "writer")
    alone = prepare_recipe(load_config([f"model.path={model_path}"]))
    both = prepare_recipe(load_config([f"model.path={model_path}", f"augmentation.model={tmp_path}/writer"]))
    assert both.recipe.id != alone.recipe.id
    assert [b.max_tokens for b in both.limit.budgets] == [
        alone.limit.budgets[0].max_tokens,
        alone.limit.budgets[0].max_tokens - 512,
    ]
    same = prepare_recipe(load_config([f"model.path={model_path}", f"augmentation.model={model_path}"]))
    assert same.recipe.id == alone.recipe.id


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.path=.*nowhere"):
        prepare_recipe(load_config([f"model.path={tmp_path}/nowhere"]))


def test_a_bank_keeps_the_prefill_that_it_was_made_with() -> None:
    aligned = build_recipe(load_config(["prompt.prefill=aligned"]), "m", "m", LAYOUT)
    published = build_recipe(load_config(["prompt.prefill=published"]), "m", "m", LAYOUT)
    assert published.id == build_recipe(Config(), "m", "m", LAYOUT).id != aligned.id
    for caller in (PromptConfig(), PromptConfig(prefill=Prefill.aligned)):
        assert recorded_prompt(aligned, caller).prefill is Prefill.aligned
        assert recorded_prompt(published, caller).prefill is Prefill.published
    assert writing_fields(aligned) == writing_fields(published)
