"""The header of a GGUF file (llama.cpp's format), and what can be told from it: whether this system can use the file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prag_core.errors import ModelError

MAGIC = b"GGUF"
BESIDES_WEIGHTS = 1 << 26  # bytes of tokenizer and config, amply
OTHERWISE = "give the model as a folder or by its name on the hub"


@dataclass(frozen=True)
class GgufFile:
    """A file whose header is usable. `path` is how the user names the model; `reader` is the gguf package's."""

    file: Path
    path: str
    reader: Any

    @property
    def architecture(self) -> str:
        return str(self.field("general.architecture"))

    @property
    def num_tokens(self) -> int:
        """The size of the vocabulary."""
        return len(self.reader.get_field("tokenizer.ggml.tokens").data)

    @property
    def folder_bytes(self) -> int:
        """The size of the folder that it makes, at most, at two bytes a weight."""
        return 2 * sum(int(tensor.n_elements) for tensor in self.reader.tensors) + BESIDES_WEIGHTS

    def field(self, name: str) -> Any:
        """A value of the header; None if it has none of that name."""
        found = self.reader.get_field(name)
        return None if found is None else found.contents()


def open_gguf(file: Path, path: str) -> GgufFile:
    """Read and check a file's header. Raises ModelError: no GGUF file, cut off, one of several parts, without chat template, of
    an architecture or quantisation that cannot be read, or the gguf package is missing."""
    with file.open("rb") as opened:
        magic = opened.read(len(MAGIC))
    if magic != MAGIC:
        raise ModelError(
            f"model.path={path}: not a GGUF file (it begins with {magic!r}); give a GGUF file or a model's folder"
        )
    try:
        import gguf  # only here, and not light
    except ImportError:
        raise ModelError(f"model.path={path}: GGUF files need the package gguf; pip install gguf") from None
    try:
        found = GgufFile(file, path, gguf.GGUFReader(file))
    except Exception as error:  # it checks nothing: whatever its arithmetic raises
        raise ModelError(
            f"model.path={path}: a GGUF file that is cut off or damaged ({first_line(error)}); fetch it again"
        ) from None
    _check(found)
    return found


def _check(source: GgufFile) -> None:
    import gguf

    start = f"model.path={source.path}: "
    if source.reader.get_field("general.architecture") is None:
        raise ModelError(f"{start}a GGUF file that names no architecture; {OTHERWISE}")
    if (parts := source.field("split.count") or 0) > 1:
        raise ModelError(
            f"{start}one of {parts} parts; join them with llama-gguf-split --merge and give the result"
        )
    if source.reader.get_field("tokenizer.ggml.tokens") is None:
        raise ModelError(f"{start}the file has no tokenizer; use the file of a chat model")
    if not source.field("tokenizer.chat_template"):
        raise ModelError(
            f"{start}the file has no chat template (tokenizer.chat_template); use the file of a chat model"
        )
    for kind in {tensor.tensor_type for tensor in source.reader.tensors}:
        _, size = gguf.GGML_QUANT_SIZES[kind]
        try:
            gguf.dequantize(np.zeros((1, size), np.uint8), kind)
        except NotImplementedError:
            raise ModelError(
                f"{start}tensors of the quantisation {kind.name} cannot be dequantised; use a file of another one"
            ) from None


def first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
