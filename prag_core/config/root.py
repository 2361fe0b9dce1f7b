"""`${root:path}` in a setting is a path within the checkout; known to OmegaConf wherever a configuration becomes one of its own.

Apart from the schema, which is read where OmegaConf is not installed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

ROOT = Path(__file__).resolve().parents[2]
OmegaConf.register_resolver("root", lambda path: str(ROOT / path), replace=True)


def structured(config: Any) -> DictConfig:
    """Return a configuration or a section of one, or its class for the defaults, as OmegaConf's."""
    return cast(DictConfig, OmegaConf.structured(config))
