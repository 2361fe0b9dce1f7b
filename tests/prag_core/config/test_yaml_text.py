"""YAML's values are text, whatever they look like; null, structure and merge keys are YAML's."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from prag_core.config.yaml_text import load_yaml, parse_yaml
from prag_core.errors import ConfigError


def test_values_keep_their_characters_and_null_is_none() -> None:
    text = "{a: 0123, b: 2024_11_26, c: [yes, 1e3, 'null'], d: null, e: ~, f: , 1: 12:30:45}"
    assert parse_yaml(text) == {
        "a": "0123",
        "b": "2024_11_26",
        "c": ["yes", "1e3", "null"],
        "d": None,
        "e": None,
        "f": None,
        "1": "12:30:45",
    }


def test_a_mapping_may_take_another_in() -> None:
    assert parse_yaml("x: &x {a: 1}\ny: {<<: *x, b: 2}")["y"] == {"a": "1", "b": "2"}


def test_a_key_that_is_there_twice_is_refused() -> None:
    with pytest.raises(yaml.YAMLError, match="a is there twice"):
        parse_yaml("{a: 1, b: {c: 1}, a: 2}")


def test_an_empty_file_sets_nothing_and_a_list_is_no_mapping(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    (tmp_path / "list.yaml").write_text("- a\n")
    assert load_yaml(tmp_path / "empty.yaml") == {}
    with pytest.raises(ConfigError, match=r"list\.yaml: expected a mapping"):
        load_yaml(tmp_path / "list.yaml")
