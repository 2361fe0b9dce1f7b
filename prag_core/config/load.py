"""How the recipe, a file and `key=value` overrides become one configuration.

Order, later wins: the defaults of the schema, the recipe's file (`conf/recipe/<name>.yaml`), the files given with --config in
their order, then overrides in theirs. All are read as text, of which the schema makes types. Unknown keys, values of another
type, range or choice and names that contradict each other are ConfigErrors that name the setting, the value and the nearest
known name. Paths of the result are absolute (`paths`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException, ValidationError

from prag_core.config.checks import check_settings, refuse, suggest
from prag_core.config.paths import resolve_paths
from prag_core.config.root import ROOT, structured
from prag_core.config.schema import Config
from prag_core.config.setting import Setting, walk_settings
from prag_core.config.yaml_text import load_yaml, parse_yaml
from prag_core.errors import ConfigError

CONF = ROOT / "conf"
Override = str | Mapping[str, Any]  # `key=value`, or settings by name, with dots or nested


def load_config(overrides: Sequence[Override] = (), *files: str) -> Config:
    """Defaults, recipe, files, overrides → one checked Config. Raises ConfigError on anything unknown, ill-typed or out of
    range."""
    from_user = [*(load_yaml(Path(file).expanduser()) for file in files), _parse_overrides(overrides)]
    recipe = next(
        (str(source.recipe) for source in reversed(from_user) if source.get("recipe")), Config.recipe
    )
    config = _defaults()
    for source in (_load_recipe(recipe), *from_user):
        config = _merge(config, source)
    resolved = resolve_paths(_to_object(config))
    check_settings(resolved)
    return resolved


def default_config() -> Config:
    """Return the defaults as they are described, with relative paths."""
    return _to_object(_defaults())


@cache
def _defaults() -> DictConfig:
    """The schema with its defaults, to be merged into copies of it: to make it is half the time of loading."""
    return structured(Config)


def known_settings() -> dict[str, Setting]:
    """Map every setting's full name, such as `training.epochs`, to what is known of it."""
    return {setting.key: setting for setting in walk_settings(Config())}


def _load_recipe(name: str) -> DictConfig:
    is_file = name.endswith((".yaml", ".yml"))
    path = Path(name).expanduser() if is_file else CONF / "recipe" / f"{name}.yaml"
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in (CONF / "recipe").glob("*.yaml")))
        raise ConfigError(f"recipe={name}: no such recipe; known: {known}, or the path of a YAML file")
    return cast(DictConfig, OmegaConf.merge(load_yaml(path), {"recipe": name}))


def _parse_overrides(overrides: Sequence[Override]) -> DictConfig:
    for item in overrides:
        if isinstance(item, str) and ("=" not in item or item.startswith("=")):
            raise ConfigError(f"{item!r}: settings are given as key=value, e.g. corpus.uri=corpus.jsonl")
    known = known_settings()
    parsed = OmegaConf.create()
    try:
        for item in overrides:
            if isinstance(item, str):
                name, _, value = item.partition("=")
                item = {name: value if _is_one_text(name, value, known) else parse_yaml(value)}
            for name, value in item.items():
                OmegaConf.update(parsed, name, value, merge=True, force_add=True)
        return parsed
    except Exception as error:
        given, reason = " ".join(map(str, overrides)), " ".join(str(error).split())
        raise ConfigError(
            f"cannot read the settings {given}: {reason}; put values with YAML's own signs in quotes"
        ) from None


def _is_one_text(name: str, value: str, known: Mapping[str, Setting]) -> bool:
    """Whether a typed value is a text as it stands: of a text setting, and neither null nor in quotes, which are YAML's."""
    setting, mapping = known.get(name), known.get(name.rpartition(".")[0])
    is_text = (setting and setting.kind in ("str", "str | None")) or (
        mapping and mapping.kind == "dict[str, str]"
    )
    value = value.strip()
    return bool(is_text) and value not in ("", "null", "Null", "NULL", "~") and value[0] not in "'\""


def _merge(config: DictConfig, source: DictConfig) -> DictConfig:
    _refuse_unknown(config, source, prefix="")
    try:
        return cast(DictConfig, OmegaConf.merge(config, source))
    except (OmegaConfBaseException, TypeError) as error:
        raise _as_config_error(error, source) from None


def _to_object(config: DictConfig) -> Config:
    try:
        return cast(Config, OmegaConf.to_object(config))
    except OmegaConfBaseException as error:
        raise _as_config_error(error, config) from None


def _as_config_error(error: Exception, source: DictConfig) -> ConfigError:
    """Say of OmegaConf's error which setting it is about and, of a value of another type, what was expected."""
    key = getattr(error, "full_key", None) or ""
    name = key.partition("[")[0]
    setting = known_settings().get(name) or known_settings().get(name.rpartition(".")[0])
    if isinstance(error, ValidationError) and not isinstance(error, InterpolationResolutionError) and setting:
        return refuse(setting, _plain(OmegaConf.select(source, setting.key)))
    return ConfigError(f"{key or 'configuration'}: {str(error).splitlines()[0]}")


def _refuse_unknown(config: DictConfig, source: DictConfig, prefix: str) -> None:
    for name, value in _nodes(source):
        key = f"{prefix}{name}"
        if name not in config:
            hint = suggest(_first_leaf(key, value), list(known_settings()))
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
        elif isinstance(value, DictConfig) and not (isinstance(expected, DictConfig) and _is_flat(value)):
            raise refuse(known_settings()[key], _plain(value))


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value


def _nodes(config: DictConfig) -> list[tuple[str, Any]]:
    return [(str(name), config._get_node(name)) for name in config]


def _first_leaf(key: str, value: Any) -> str:
    """The first full setting name at or under `key`, as the user gave it."""
    while isinstance(value, DictConfig) and len(value):
        name, value = _nodes(value)[0]
        key = f"{key}.{name}"
    return key


def _is_flat(node: DictConfig) -> bool:
    return not any(OmegaConf.is_config(value) for _, value in _nodes(node))


def _is_section(node: Any) -> bool:
    """A group of settings, rather than one setting whose value is a mapping."""
    return isinstance(node, DictConfig) and OmegaConf.get_type(node) is not dict
