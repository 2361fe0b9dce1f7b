"""How the recipe, a file and `key=value` overrides become one configuration.

Order, later wins: the defaults of `config`, the recipe's file (`conf/recipe/<name>.yaml`), the files given with --config in
their order, then overrides in theirs. Unknown keys and wrong types are ConfigErrors that name the key, and the nearest known
one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import yaml
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from prag_core.config.checks import check_settings, suggest
from prag_core.config.schema import Config
from prag_core.config.setting import PathKind, walk_settings
from prag_core.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
CONF = ROOT / "conf"
Override = str | Mapping[str, Any]  # `key=value`, or settings by name, with dots or nested
OmegaConf.register_resolver(
    "root", lambda path: str(ROOT / path), replace=True
)  # ${root:path}: within the checkout


def load_config(overrides: Sequence[Override] = (), *files: str) -> Config:
    """Defaults, recipe, files, overrides → one checked Config. Raises ConfigError on anything unknown, ill-typed or out of
    range."""
    base = OmegaConf.structured(Config)
    from_user = [*(_load_settings(Path(file)) for file in files), _parse_overrides(overrides)]
    recipe = next((str(source.recipe) for source in reversed(from_user) if source.get("recipe")), base.recipe)
    config = base
    for source in (_load_recipe(recipe), *from_user):
        config = _merge(config, source)
    try:
        resolved = cast(Config, OmegaConf.to_object(config))
    except OmegaConfBaseException as error:
        raise _config_error(error) from None
    check_settings(resolved)
    return resolved


def absolute_paths(config: Config) -> Config:
    """Make relative local paths absolute, as processes elsewhere need them. URIs and hub names (a relative path that is not
    there) stay as they are. The schema says which settings are paths."""
    sections: dict[str, dict[str, str]] = {}
    for setting in walk_settings(config):
        kind = setting.description.path if setting.description else None
        if kind is None or setting.value is None:
            continue
        path = os.path.expanduser(setting.value)
        if "://" not in setting.value if kind is PathKind.local else os.path.isdir(path):
            section, name = setting.key.split(".")
            sections.setdefault(section, {})[name] = os.path.abspath(path)
    changed = {section: replace(getattr(config, section), **paths) for section, paths in sections.items()}
    return replace(config, **changed)


def _load_recipe(name: str) -> DictConfig:
    path = Path(name) if name.endswith((".yaml", ".yml")) else CONF / "recipe" / f"{name}.yaml"
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in (CONF / "recipe").glob("*.yaml")))
        raise ConfigError(f"recipe={name}: no such recipe; known: {known}, or the path of a YAML file")
    return cast(DictConfig, OmegaConf.merge(_load_settings(path), {"recipe": name}))


def _load_settings(path: Path) -> DictConfig:
    """A file of settings, the text ones with the characters of the file. Raises ConfigError, naming the file."""
    settings = load_yaml(path)
    as_written = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)  # every scalar a text
    for key in text_settings():
        value = (
            OmegaConf.select(settings, key, throw_on_missing=False)
            if not _is_interpolated(settings, key)
            else None
        )
        if value is not None and not isinstance(value, str | DictConfig | ListConfig):
            section, _, name = key.rpartition(".")
            OmegaConf.update(settings, key, (as_written[section] if section else as_written)[name])
    return settings


def _is_interpolated(settings: DictConfig, key: str) -> bool:
    section, _, name = key.rpartition(".")
    parent = settings.get(section) if section else settings
    return isinstance(parent, DictConfig) and name in parent and OmegaConf.is_interpolation(parent, name)


def load_yaml(path: Path) -> DictConfig:
    """A mapping in a YAML file. Raises ConfigError, naming the file."""
    try:
        loaded = OmegaConf.load(path)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except Exception as error:
        raise ConfigError(f"{path}: not readable as YAML: {error}") from None
    if not isinstance(loaded, DictConfig):
        raise ConfigError(f"{path}: expected a mapping of settings")
    return loaded


def _parse_overrides(overrides: Sequence[Override]) -> DictConfig:
    for item in overrides:
        if isinstance(item, str) and ("=" not in item or item.startswith("=")):
            raise ConfigError(f"{item!r}: settings are given as key=value, e.g. corpus.uri=corpus.jsonl")
    given = " ".join(map(str, overrides))
    texts = text_settings()
    parsed = OmegaConf.create()
    try:
        for item in overrides:
            if isinstance(item, str):
                name, _, value = item.partition("=")
                if name in texts and not _is_yaml_text(value):
                    OmegaConf.update(parsed, name, value, merge=True, force_add=True)
                else:
                    parsed.merge_with_dotlist([item])
            else:
                for name, setting in item.items():
                    OmegaConf.update(parsed, name, setting, merge=True, force_add=True)
        return parsed
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"cannot read the settings {given}: {reason}; put values with YAML's own signs in quotes"
        ) from None


def text_settings() -> set[str]:
    """Full names of the settings that are text: their characters stay as they are typed, whatever YAML makes of them."""
    return {setting.key for setting in walk_settings(Config()) if setting.kind in ("str", "str | None")}


def _is_yaml_text(value: str) -> bool:
    """Whether a value is null or in quotes, which stay YAML's."""
    value = value.strip()
    return value in ("", "null", "Null", "NULL", "~") or value[0] in "'\""


def _merge(config: DictConfig, source: DictConfig) -> DictConfig:
    _refuse_unknown(config, source, prefix="")
    try:
        return cast(DictConfig, OmegaConf.merge(config, source))
    except (OmegaConfBaseException, TypeError) as error:
        raise _config_error(error) from None


def _config_error(error: Exception) -> ConfigError:
    key = getattr(error, "full_key", None) or "configuration"
    return ConfigError(f"{key}: {str(error).splitlines()[0]}")


def _refuse_unknown(config: DictConfig, source: DictConfig, prefix: str) -> None:
    for name, value in _nodes(source):
        key = f"{prefix}{name}"
        if name not in config:
            hint = suggest(_first_leaf(key, value), known_keys())
            raise ConfigError(
                f"unknown setting {_first_leaf(key, value)}{hint} (prag <verb> --print-config lists all)"
            )
        expected = config._get_node(name)
        if isinstance(expected, DictConfig) and _is_section(expected):
            if not isinstance(value, DictConfig):
                raise ConfigError(
                    f"{key} is a section; set one of its keys, e.g. {key}.{_nodes(expected)[0][0]}=…"
                )
            _refuse_unknown(expected, value, prefix=f"{key}.")


def known_keys() -> list[str]:
    """Every setting's full name, sections spelled out: `training.epochs`."""
    return [setting.key for setting in walk_settings(Config())]


def _nodes(config: DictConfig) -> list[tuple[str, Any]]:
    return [(str(name), config._get_node(name)) for name in config]


def _first_leaf(key: str, value: Any) -> str:
    """The first full setting name at or under `key`, as the user gave it."""
    while isinstance(value, DictConfig) and len(value):
        name, value = _nodes(value)[0]
        key = f"{key}.{name}"
    return key


def _is_section(node: Any) -> bool:
    """A group of settings, rather than one setting whose value is a mapping."""
    return isinstance(node, DictConfig) and OmegaConf.get_type(node) is not dict
