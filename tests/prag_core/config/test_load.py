"""Defaults, recipe, file and overrides become one typed configuration; mistakes are named with what was meant."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from prag_core.config.dump import as_dict, as_yaml
from prag_core.config.full_names import flatten
from prag_core.config.load import CONF, known_settings, load_config
from prag_core.config.schema import Config, CorpusConfig, Dtype, Tier
from prag_core.errors import ConfigError


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


def test_files_of_settings_may_lie_in_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.yaml").write_text("training: {epochs: 9}\n")
    assert load_config([], "~/mine.yaml").training.epochs == 9
    assert load_config(["recipe=~/mine.yaml"]).training.epochs == 9


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
        (
            "training.epochs=many",
            r"training\.epochs=many: expected a whole number, at least 1\. Number of passes",
        ),
        ("training.epochs=2.5", r"training\.epochs=2\.5: expected a whole number"),
        ("training.epochs=", r"training\.epochs=null: expected a whole number"),
        ("training.compile=maybe", r"training\.compile=maybe: expected true or false\."),
        ("training.targets=[up,null]", r"training\.targets=\[up, null\]: expected a list, such as \[a, b\]"),
        ("evaluate.banks=x", r"evaluate\.banks=x: expected texts by name"),
        ("evaluate.banks.x.y=3", r"evaluate\.banks=.*: expected texts by name"),
        ("engine.kind=${merge.rule}", r"engine\.kind: .*merge\.rule"),
        ("bank={uri: a, uri: b}", "uri is there twice"),
        ("corpus=x", r"corpus is a section.*corpus\.uri="),
        ("bank.uri.x=3", r"bank\.uri=.*: expected a path or URI"),
        ("training.targets=gate_proj", r"training\.targets=gate_proj: expected a list"),
        ("training.targets.0=x", r"training\.targets=.*: expected a list"),
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


@pytest.mark.parametrize("typed", ["2024_11_26", "0123456", "1e3", "yes", "0x10", "12:30:45", "null_bank"])
def test_a_text_setting_keeps_its_characters(typed: str, tmp_path: Path) -> None:
    """YAML would make numbers, truth values and times of them."""
    file = tmp_path / "settings.yaml"
    file.write_text(f"model:\n  revision: {typed}\n")
    assert load_config([f"model.revision={typed}"]).model.revision == typed
    assert load_config([], str(file)).model.revision == typed
    assert load_config([f"bank.uri={typed}"]).bank.uri == str(Path.cwd() / typed)


@pytest.mark.parametrize("typed", ["2024_11_26", "0123", "1e3", "yes", "12:30:45"])
def test_texts_in_lists_and_mappings_keep_their_characters_too(typed: str, tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(f"training: {{targets: [{typed}, a]}}\nevaluate: {{banks: {{x: {typed}}}}}\n")
    bank = {"x": str(Path.cwd() / typed)}
    for config in (
        load_config([], str(file)),
        load_config([f"training.targets=[{typed}, a]", f"evaluate.banks.x={typed}"]),
        load_config([f"training={{targets: [{typed}, a]}}", f"evaluate.banks={{x: {typed}}}"]),
    ):
        assert config.training.targets == [typed, "a"] and config.evaluate.banks == bank


def test_a_pattern_of_files_needs_no_quotes(tmp_path: Path) -> None:
    """They begin as YAML's aliases and lists do."""
    for typed in ("*.jsonl", "[ab]*.jsonl", "{a: b}", "#1.jsonl"):
        assert load_config([f"corpus.uri={typed}"]).corpus.uri == str(Path.cwd() / typed)


def test_null_and_quotes_stay_yamls_in_a_text_setting() -> None:
    assert load_config(["model.revision=null"]).model.revision is None
    assert load_config(["model.revision='null'"]).model.revision == "null"


def test_paths_of_files_and_of_the_command_line_are_absolute_once_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    (tmp_path / "mine.yaml").write_text("corpus: {uri: c.jsonl}\nmodel: {path: ~/model}\n")
    config = load_config(["bank.uri=~/bank"], "mine.yaml")
    assert (config.corpus.uri, config.model.path) == (str(tmp_path / "c.jsonl"), "/home/me/model")
    assert config.bank.uri == "/home/me/bank"


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


def test_known_settings_are_all_leaves() -> None:
    keys = known_settings()
    assert {key.split(".")[0] for key in keys} == {field.name for field in fields(Config)}
    assert {key for key in keys if key.startswith("corpus.")} == {
        f"corpus.{field.name}" for field in fields(CorpusConfig)
    }
    assert keys.keys() >= set(flatten(as_dict(load_config()))) and "evaluate.banks" in keys
