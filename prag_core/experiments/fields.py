"""Checked reading of YAML descriptions: each function raises a ConfigError that names the place and what was expected there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from prag_core.config.yaml_text import load_yaml
from prag_core.errors import ConfigError, did_you_mean


def read_fields(file: Path | str, *, resolve: bool) -> dict[str, Any]:
    """Read a file's mapping, every value in it a text or null. Without `resolve` its interpolations remain, for the settings that
    they become part of."""
    try:
        fields = OmegaConf.to_container(load_yaml(Path(file)), resolve=resolve)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{file}: {str(error).splitlines()[0]}") from None
    assert isinstance(fields, dict)
    return {str(name): value for name, value in fields.items()}


def refuse_unknown(place: str, fields: Mapping[Any, Any], known: Iterable[str]) -> None:
    """Raise for the first field that is not known."""
    names = list(known)
    for name in fields:
        if name not in names:
            hint = did_you_mean(str(name), names)
            raise ConfigError(f"{place}: unknown field {name}{hint} (known: {', '.join(names)})")


def settings_in(place: str, name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the mapping of settings in a field; {} if there is none."""
    value = fields.get(name) or {}
    if not isinstance(value, dict):
        raise ConfigError(f"{place}: {name} is {value!r}; expected settings by name, e.g. training.epochs: 2")
    return value


def names_in(place: str, name: str, fields: Mapping[str, Any]) -> list[str] | None:
    """Return the list of names in a field; None if there is none."""
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
        raise ConfigError(f"{place}: {name} is {value!r}; expected a list of names")
    return value


def items_in(place: str, name: str, fields: Mapping[str, Any]) -> list[Any]:
    """Return the list in a field that must have one, with at least one item."""
    value = fields.get(name)
    if not value:
        raise ConfigError(f"{place}: {name} is empty; expected a list of at least one item")
    if not isinstance(value, list):
        raise ConfigError(f"{place}: {name} is {value!r}; expected a list")
    return value


def one_of(place: str, kind: str, value: Any, known: Iterable[str]) -> str:
    """Return a value that must be one of the known names."""
    names = list(known)
    if value not in names:
        raise ConfigError(f"{place}: no {kind} {value!r}; known: {', '.join(names)}")
    return str(value)
