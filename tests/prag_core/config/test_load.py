"""Defaults, recipe, file and overrides become one typed configuration; mistakes are named with what was meant."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from prag_core.config.choices import Dtype, Tier
from prag_core.config.full_names import flatten
from prag_core.config.load import CONF, absolute_paths, known_keys, load_config
from prag_core.config.schema import (
    MERGE_RULES,
    OBJECTIVES,
    Config,
    CorpusConfig,
    as_dict,
    as_yaml,
)
from prag_core.config.setting import walk_settings
from prag_core.errors import ConfigError
from prag_core.merging.rules import RULES
from prag_core.training import objectives


def test_without_anything_it_is_the_published_recipe() -> None:
    config = load_config()
    assert config.recipe == "reference"
    training, augmentation = config.training, config.augmentation
    assert (training.rank, training.alpha, training.epochs, training.learning_rate) == (2, 32.0, 1, 3e-4)
    assert (training.beta1, training.beta2, training.eps, training.weight_decay) == (0.9, 0.999, 1e-8, 0.01)
    assert (augmentation.num_rewrites, augmentation.num_qa_pairs, augmentation.max_new_tokens) == (1, 3, 512)
    assert (augmentation.temperature, augmentation.top_k, config.retrieval.top_k) == (0.7, 50, 3)
    assert training.replay_samples == 0 and not config.prompt.with_title


def test_the_reference_recipe_only_spells_out_the_defaults() -> None:
    recipe = yaml.safe_load((CONF / "recipe" / "reference.yaml").read_text())
    defaults = as_dict(Config())
    for section, settings in recipe.items():
        for name, value in settings.items():
            assert defaults[section][name] == value, f"{section}.{name}"


def test_later_sources_win(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("recipe: mini\ntraining: {epochs: 7, seed: 5}\n")
    mini, mine = load_config(["recipe=mini"]), load_config(["training.seed=6"], str(file))
    assert mine.recipe == "mini"
    assert (
        mine.augmentation == mini.augmentation and mine.training.learning_rate == mini.training.learning_rate
    )
    assert (mine.training.epochs, mine.training.seed) == (7, 6)


def test_of_several_files_the_later_wins_and_may_name_the_recipe(tmp_path: Path) -> None:
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("recipe: reference\ntraining: {epochs: 7, seed: 5}\n")
    second.write_text("recipe: mini\ntraining: {seed: 6}\n")
    config = load_config([], str(first), str(second))
    assert (config.recipe, config.training.epochs, config.training.seed) == ("mini", 7, 6)
    assert load_config([], str(second), str(first)).recipe == "reference"


def test_a_recipe_may_be_a_file_and_an_override_names_it(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("training: {epochs: 9}\n")
    assert load_config([f"recipe={recipe}"]).training.epochs == 9


def test_values_are_typed() -> None:
    config = load_config(
        ["bank.tier=int8", "training.dtype=bfloat16", "corpus.limit=3", "training.learning_rate=1"]
    )
    assert (config.bank.tier, config.training.dtype, config.corpus.limit) == (Tier.int8, Dtype.bfloat16, 3)
    assert isinstance(config.training.learning_rate, float)
    assert load_config(["training.targets=[a, b]"]).training.targets == ["a", "b"]


def test_what_is_printed_loads_as_the_same_configuration(tmp_path: Path) -> None:
    config = load_config(["recipe=mini", "bank.tier=int4", "corpus.limit=3"])
    (tmp_path / "printed.yaml").write_text(as_yaml(config))
    assert load_config([], str(tmp_path / "printed.yaml")) == config


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("trainig.epochs=3", "training.epochs"),
        ("trainig.epoch=3", "training.epochs"),
        ("training.epoch=3", "training.epochs"),
        ("training.learning_rat=3", "training.learning_rate"),
        ("bank.tire=fp32", "bank.tier"),
        ("corpus.url=x", "corpus.uri"),
        ("merge.rul=ties", "merge.rule"),
        ("epochs=3", "training.epochs or warmup.epochs"),
        ("epoch=3", "training.epochs or warmup.epochs"),
        ("recipy=mini", "recipe"),
        ("top_k=3", "augmentation.top_k or retrieval.top_k"),
        ("wrong.epochs=3", "training.epochs or warmup.epochs"),
        ("models.path=x", "model.path"),
    ],
)
def test_an_unknown_setting_is_refused_with_the_nearest_known_one(given: str, meant: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config([given])
    assert str(caught.value).startswith(f"unknown setting {given.split('=')[0]}; did you mean {meant}?")


def test_an_unknown_setting_like_no_other_is_refused_with_its_sections_names() -> None:
    with pytest.raises(
        ConfigError, match=r"unknown setting bank\.xyzzy; bank has uri, tier, shard_documents"
    ):
        load_config(["bank.xyzzy=3"])
    with pytest.raises(ConfigError, match=r"unknown setting xyzzy \(prag"):
        load_config(["xyzzy=3"])


def test_an_unknown_setting_in_a_file_is_refused_too(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("training: {epoch: 3}\n")
    with pytest.raises(ConfigError, match=r"training\.epoch; did you mean training\.epochs"):
        load_config([], str(tmp_path / "mine.yaml"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("training.epochs=many", r"training\.epochs.*many"),
        ("training.epochs=2.5", r"training\.epochs.*2\.5"),
        ("training.epochs=", r"training\.epochs.*None"),
        ("training.epochs=0", r"training\.epochs=0: expected at least 1"),
        ("training.learning_rate=-1", r"training\.learning_rate=-1.*above 0"),
        ("training.learning_rate=.nan", r"training\.learning_rate=nan"),
        ("merge.density=0", r"merge\.density=0.*above 0 and at most 1"),
        ("merge.density=1.1", r"merge\.density=1\.1.*at most 1"),
        ("merge.density=.nan", r"merge\.density=nan"),
        (
            "acceptance.threshold=1.01",
            r"acceptance\.threshold=1\.01: expected at least 0 and at most 1 \(the share",
        ),
        ("acceptance.threshold=-0.1", r"acceptance\.threshold=-0\.1: expected at least 0"),
        ("acceptance.max_retries=-1", r"acceptance\.max_retries=-1: expected at least 0"),
        ("merge.rank=0", r"merge\.rank=0: expected at least 1"),
        ("merge.sharpness=-1", r"merge\.sharpness=-1.*at least 0"),
        ("methods.lookahead_act_below=0", r"methods\.lookahead_act_below=0.*above 0 and at most 1"),
        ("methods.max_rounds=0", r"methods\.max_rounds=0: expected at least 1"),
        (
            "methods.dataset=popqa",
            r"methods\.dataset=popqa: expected one of 2wiki, hotpotqa \(whose published thresholds",
        ),
        ("bank.tier=fp8", r"bank\.tier.*fp8.*fp32, bf16, int8, int4"),
        ("corpus=x", r"corpus is a section.*corpus\.uri="),
        ("bank.uri.x=3", r"bank\.uri"),
        ("training.targets=gate_proj", r"training\.targets"),
        ("training.targets.0=x", "incompatible"),
        ("bank.uri=${nope:1}", r"bank\.uri.*nope"),
        ("bank.uri=${bank.nope}", r"bank\.uri.*bank\.nope"),
        ("training.epochs={", r"training\.epochs=\{.*quotes"),
        ("bank.uri", "key=value"),
        ("=3", "key=value"),
        ("recipe=nope", "recipe=nope.*mini, mini_distill, reference"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused_by_name(given: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config([given])


def test_an_exam_without_questions_is_refused() -> None:
    load_config(["acceptance.threshold=0.5", "augmentation.num_qa_pairs=1"])
    with pytest.raises(ConfigError, match=r"acceptance\.threshold=0\.5: an exam needs questions"):
        load_config(["acceptance.threshold=0.5", "augmentation.num_qa_pairs=0"])


def test_distillation_without_questions_is_refused() -> None:
    load_config(["training.objective=distill", "augmentation.num_qa_pairs=1"])
    with pytest.raises(ConfigError, match=r"training\.objective=distill: a teacher needs questions"):
        load_config(["training.objective=distill", "augmentation.num_qa_pairs=0"])
    with pytest.raises(ConfigError, match=r"training\.distill_hidden=-1\.0: expected at least 0"):
        load_config(["training.distill_hidden=-1"])


@pytest.mark.parametrize(
    ("content", "message"), [(None, "no such file"), ("a: [", "YAML"), ("- a", "mapping"), ("\x00", "YAML")]
)
def test_a_file_that_is_no_configuration_is_refused(
    tmp_path: Path, content: str | None, message: str
) -> None:
    path = tmp_path / "mine.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=message):
        load_config([], str(path))


def test_every_setting_has_one_line_of_help() -> None:
    undescribed = [
        setting.key
        for setting in walk_settings(Config())
        if setting.key != "recipe" and (setting.description is None or not setting.description.help)
    ]
    assert not undescribed


def test_the_walk_over_the_schema_meets_every_key_of_a_configuration() -> None:
    assert set(known_keys()) >= set(flatten(as_dict(load_config()))) and "evaluate.banks" in known_keys()


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("training.objective=nexttoken", "did you mean next_token?"),
        ("merge.rule=SUM", "did you mean sum?"),
        ("methods.dataset=2wikis", "did you mean 2wiki?"),
        ("training.beta1=1.5", "at least 0 and below 1"),
        ("training.eps=-1", "above 0"),
        ("training.learning_rate=0", "above 0"),
        ("training.learning_rate=.nan", "above 0"),
        ("retrieval.b=3", "at least 0 and at most 1"),
        ("serve.port=99999", "at least 1 and at most 65535"),
    ],
)
def test_a_value_out_of_range_or_choices_is_refused_at_load(setting: str, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)) as refused:
        load_config([setting])
    assert str(refused.value).startswith(setting.split("=")[0])


def test_the_schemas_choices_are_the_names_that_exist() -> None:
    assert list(OBJECTIVES) == list(objectives.OBJECTIVES)
    assert set(MERGE_RULES) == set(RULES)


@pytest.mark.parametrize("typed", ["2024_11_26", "0123456", "1e3", "yes", "0x10", "12:30:45", "null_bank"])
def test_a_text_setting_keeps_its_characters(typed: str, tmp_path: Path) -> None:
    """YAML would make numbers, truth values and times of them."""
    file = tmp_path / "settings.yaml"
    file.write_text(f"bank:\n  uri: {typed}\n")
    assert load_config([f"bank.uri={typed}"]).bank.uri == typed
    assert load_config([f"model.revision={typed}"]).model.revision == typed
    assert load_config([], str(file)).bank.uri == typed


def test_null_and_quotes_stay_yamls_in_a_text_setting() -> None:
    assert load_config(["model.revision=null"]).model.revision is None
    assert load_config(["model.revision='null'"]).model.revision == "null"


def test_known_keys_are_all_leaves() -> None:
    keys = known_keys()
    assert {key.split(".")[0] for key in keys} == {field.name for field in fields(Config)}
    assert {key for key in keys if key.startswith("corpus.")} == {
        f"corpus.{field.name}" for field in fields(CorpusConfig)
    }


def test_as_dict_is_plain_values_with_enums_by_name() -> None:
    values: dict[str, Any] = as_dict(load_config().bank)
    assert values["tier"] == "fp32" and values["shard_documents"] == 512


def test_absolute_paths_leaves_uris_hub_names_and_nulls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    config = load_config(
        ["corpus.uri=c.jsonl", "bank.uri=s3://b/bank", "model.path=model", "augmentation.model=org/name"]
    )
    absolute = absolute_paths(config)
    assert absolute.corpus.uri == str(tmp_path / "c.jsonl")
    assert absolute.bank.uri == "s3://b/bank"
    assert absolute.model.path == str(tmp_path / "model")
    assert (absolute.augmentation.model, absolute.augmentation.uri, absolute.prompt.fewshot) == (
        "org/name",
        None,
        None,
    )
    assert absolute_paths(absolute) == absolute


def test_defaults_that_lie_in_the_checkout_are_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Path(load_config().corpus.uri) == CONF.parent / "examples/mini/corpus.jsonl"


def test_overrides_may_be_mappings_by_full_name_or_nested_and_count_in_their_order() -> None:
    nested: dict[str, Any] = {
        "training": {"epochs": 2, "rank": 8},
        "training.targets": ["up_proj"],
        "recipe": "mini",
    }
    config = load_config([{"training.epochs": 3}, nested, "training.rank=4"])
    training = config.training
    assert (training.epochs, training.rank, training.targets, training.replay_samples) == (
        2,
        4,
        ["up_proj"],
        12,
    )
    with pytest.raises(ConfigError, match=r"training\.epoch; did you mean training\.epochs"):
        load_config([{"training": {"epoch": 2}}])
