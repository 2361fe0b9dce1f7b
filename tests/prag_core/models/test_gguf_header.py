"""A file that cannot be used is refused by its header, in one line that says what to do."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prag_core.errors import ModelError
from prag_core.models.gguf_header import open_gguf
from tests.prag_core.models.gguf_files import tiny_llama, write_gguf


def cut(length: float) -> Callable[[Path], None]:
    """Keep this part of the file."""

    def apply(file: Path) -> None:
        data = file.read_bytes()
        file.write_bytes(data[: int(length * len(data))])

    return apply


def overwrite(data: bytes) -> Callable[[Path], None]:
    def apply(file: Path) -> None:
        file.write_bytes(data)

    return apply


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (cut(0.99), "cut off or damaged.*fetch it again"),
        (cut(0.5), "cut off or damaged.*fetch it again"),
        (cut(0.01), "cut off or damaged.*fetch it again"),
        (overwrite(b"GGUF"), "cut off or damaged.*fetch it again"),
        (overwrite(b"PK\3\4 a zip"), "not a GGUF file.*a model's folder"),
        (overwrite(b""), "not a GGUF file.*a model's folder"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, damage: Callable[[Path], None], said: str) -> None:
    file = write_gguf(tmp_path / "model.gguf", tiny_llama())
    damage(file)
    refused(file, said)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"template": False}, "no chat template.*use the file of a chat model"),
        ({"fields": {"split.count": 3}}, "one of 3 parts; join them with llama-gguf-split --merge"),
    ],
)
def test_a_file_without_what_is_needed_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    refused(write_gguf(tmp_path / "model.gguf", tiny_llama(), **changes), said)


def test_a_quantisation_without_a_decoder_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gguf

    file = write_gguf(tmp_path / "model.gguf", tiny_llama(), kind="Q8_0")
    monkeypatch.delitem(gguf.quants._type_traits, gguf.GGMLQuantizationType.Q8_0)
    refused(file, "quantisation Q8_0 cannot be dequantised; use a file of another one")


def test_the_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_gguf(tmp_path / "model.gguf", tiny_llama())
    real = builtins.__import__

    def without_gguf(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "gguf":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without_gguf)
    refused(file, "need the package gguf; pip install gguf")


def test_the_size_of_the_folder_is_known_before_it_is_made(tmp_path: Path) -> None:
    model = tiny_llama()
    header = open_gguf(write_gguf(tmp_path / "model.gguf", model, kind="Q4_0"), "m")
    weights = 2 * sum(parameter.numel() for parameter in model.parameters())
    assert weights < header.folder_bytes < weights + 10**8


def refused(file: Path, said: str) -> None:
    with pytest.raises(ModelError, match=rf"model\.path=a model: .*{said}") as caught:
        open_gguf(file, "a model")
    assert "\n" not in str(caught.value)
