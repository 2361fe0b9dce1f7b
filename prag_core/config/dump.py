"""Settings written out: a configuration as plain values, for identities and reports, and as YAML; one value as users type it."""

from __future__ import annotations

from enum import Enum
from typing import Any, cast

import yaml
from omegaconf import OmegaConf

from prag_core.config.root import structured
from prag_core.config.schema import Config


def as_yaml(config: Config) -> str:
    """Format a configuration as YAML, for --print-config and for the record of a run."""
    return OmegaConf.to_yaml(structured(config), resolve=True)


def as_dict(config: Any) -> dict[str, Any]:
    """Turn a configuration, or one section, into plain JSON values; enums become their names."""
    container = OmegaConf.to_container(structured(config), enum_to_str=True)
    return cast(dict[str, Any], container)


def as_typed(value: Any) -> str:
    """Write a value as users type it: `null`, `true`, `[a, b]`, an enum by its name."""
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, str):
        return value
    return yaml.safe_dump(value, default_flow_style=True, width=float("inf")).removesuffix("...\n").strip()
