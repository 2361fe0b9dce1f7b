"""Mistakes in settings, seen before any work: values out of range, and names that are close to the one meant."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from prag_core.config.dump import as_typed
from prag_core.config.schema import Config
from prag_core.config.setting import Setting, walk_settings
from prag_core.errors import ConfigError, did_you_mean


def check_settings(config: Config) -> None:
    """Raise ConfigError for the first setting out of its range or choices, or that another setting rules out."""
    check_values(config)
    _check_labels({setting.key: setting for setting in walk_settings(config)})
    if config.augmentation.num_qa_pairs < 1:
        if (threshold := config.acceptance.threshold) is not None:
            raise ConfigError(
                f"acceptance.threshold={threshold}: an exam needs questions; augmentation.num_qa_pairs is 0"
            )
        if (objective := config.training.objective) != "next_token":
            raise ConfigError(
                f"training.objective={objective} needs questions; augmentation.num_qa_pairs is 0"
            )


def check_values(config: Any, prefix: str = "") -> None:
    """Raise ConfigError for the first value of a configuration or of one section (`prefix`: its name and a dot) that is out of
    its range or choices, as the schema has them; null passes."""
    for setting in walk_settings(config, prefix):
        value, description = setting.value, setting.description
        if value is None:
            continue
        for name in _names(setting) if description.choices else ():
            if (name.partition("@")[0] if description.labels else name) not in description.choices:
                raise refuse(setting, value, name)
        if description.range and not description.allows(value):
            raise refuse(setting, value)


def refuse(setting: Setting, value: Any, name: str | None = None) -> ConfigError:
    """Return the error that says what was expected instead of a value, or of one name in a list, and which choice is near."""
    wrong = as_typed(value) if name is None else name.partition("@")[0]
    hint = did_you_mean(wrong.lower(), setting.choices)
    part = f", not {name}" if isinstance(value, list) and name else ""
    end = "" if hint else "."
    return ConfigError(
        f"{setting.key}={as_typed(value)}: expected {setting.expected}{part}{hint}{end} {setting.description.help}"
    )


def _check_labels(settings: Mapping[str, Setting]) -> None:
    """Raise ConfigError for the first name whose label, after its @, nothing says the meaning of."""
    for setting in settings.values():
        if labels := setting.description.labels:
            known = settings[labels].value
            for name in _names(setting):
                _, sign, label = name.partition("@")
                if sign and label not in known:
                    hint = did_you_mean(label, known)
                    raise ConfigError(
                        f"{setting.key}={as_typed(setting.value)}: {name} needs {labels}.{label}, which is not set{hint}"
                    )


def _names(setting: Setting) -> Sequence[str]:
    return setting.value if isinstance(setting.value, list) else [setting.value]


def suggest(key: str, known: Sequence[str]) -> str:
    """What was probably meant by an unknown key: `; did you mean training.epochs?`, or nothing.

    A key in a section that exists is compared with that section's only; a misspelt section first with the sections; a
    bare name with the last part of every key.
    """
    near = _nearest(key, known)
    if near:
        return f"; did you mean {' or '.join(near)}?"
    section = key.split(".")[0]
    names = [k.removeprefix(f"{section}.") for k in known if k.startswith(f"{section}.")]
    return f"; {section} has {', '.join(names)}" if names else ""


def _nearest(key: str, known: Sequence[str]) -> list[str]:
    section, _, name = key.partition(".")
    sections = sorted({k.split(".")[0] for k in known if "." in k})
    if not name:
        return (
            [k for k in known if k.endswith(f".{key}")]
            or difflib.get_close_matches(key, [k for k in known if "." not in k], n=1)
            or [
                k
                for last in difflib.get_close_matches(key, _last_parts(known), n=1, cutoff=0.75)
                for k in known
                if k.endswith(f".{last}")
            ]
        )
    for candidate in [section] if section in sections else difflib.get_close_matches(section, sections, n=3):
        names = [k.removeprefix(f"{candidate}.") for k in known if k.startswith(f"{candidate}.")]
        if found := difflib.get_close_matches(name, names, n=1):
            return [f"{candidate}.{found[0]}"]
    return [k for k in known if k.endswith(f".{name}")]


def _last_parts(known: Sequence[str]) -> list[str]:
    return sorted({k.split(".")[-1] for k in known})
