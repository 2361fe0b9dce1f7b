"""A path means the same in every setting and every command."""

from __future__ import annotations

from pathlib import Path

import pytest

from prag_core.config.load import load_config
from prag_core.config.paths import resolve_path, resolve_paths
from prag_core.config.setting import PathKind


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, in which there is a folder `model`; the home folder is /home/me."""
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    return tmp_path


@pytest.mark.parametrize("kind", PathKind)
@pytest.mark.parametrize(
    ("typed", "path"),
    [
        ("/a/b", "/a/b"),
        ("file:///a/b", "/a/b"),
        ("~/b", "/home/me/b"),
        ("file://~/b", "/home/me/b"),
        ("s3://bucket/b", "s3://bucket/b"),
        ("s3://bucket/file://b", "s3://bucket/file://b"),
    ],
)
def test_home_and_file_uris_are_paths_and_other_uris_stay(kind: PathKind, typed: str, path: str) -> None:
    assert resolve_path(typed, kind) == path


def test_a_relative_path_is_of_the_working_directory(here: Path) -> None:
    for typed in ("b", "./b", "file://b", "model/../b"):
        assert resolve_path(typed, PathKind.local) == str(here / "b")


def test_a_model_is_a_folder_where_there_is_one_a_gguf_file_by_its_ending_and_else_a_name(here: Path) -> None:
    assert (
        resolve_path("model", PathKind.model)
        == resolve_path("file://model", PathKind.model)
        == str(here / "model")
    )
    assert resolve_path("org/name", PathKind.model) == "org/name"
    assert resolve_path("smollm2", PathKind.model) == "smollm2"
    assert resolve_path("some/m.Q4_0.GGUF", PathKind.model) == str(here / "some" / "m.Q4_0.GGUF")
    assert resolve_path("./org/name", PathKind.model) == str(here / "org/name"), "surely no name"


def test_every_path_of_a_configuration_is_absolute_and_stays_as_it_is_from_then_on(here: Path) -> None:
    config = load_config(
        [
            "corpus.uri=c.jsonl",
            "bank.uri=s3://b/bank",
            "augmentation.model=org/name",
            "evaluate.banks.x=bank-x",
        ]
    )
    assert config.corpus.uri == str(here / "c.jsonl") and config.evaluate.out == str(here / "out/evaluate")
    assert (config.bank.uri, config.augmentation.model, config.augmentation.uri) == (
        "s3://b/bank",
        "org/name",
        None,
    )
    assert config.evaluate.banks == {"x": str(here / "bank-x")}
    assert resolve_paths(config) == config
