"""How a setting is described: its help, range, choices and whether it is a path, as metadata of a dataclass's field."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from typing import Any

METADATA = "setting"
WORDS = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list[str]": "a list, such as [a, b]",
    "dict[str, str]": "texts by name",
}


class PathKind(Enum):
    """Where a setting that names a file or folder may point."""

    local = "local"  # a local path or an fsspec URI
    model = "model"  # a local folder or GGUF file, or a name where there is no folder of that name


@dataclass(frozen=True, kw_only=True)
class Description:
    """What is known of a setting besides its type and default. Bounds and choices hold for values that are not null, and choices
    for every item of a list. `labels` names the setting whose keys an item may have after an @."""

    help: str
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    choices: tuple[str, ...] = ()
    labels: str = ""
    path: PathKind | None = None

    @property
    def range(self) -> str:
        """The bounds in words: `at least 1`, `above 0 and at most 1`; empty without bounds."""
        bounds = {"at least": self.ge, "above": self.gt, "at most": self.le, "below": self.lt}
        return " and ".join(f"{words} {bound:g}" for words, bound in bounds.items() if bound is not None)

    def allows(self, value: float) -> bool:
        """Whether a number is finite and within the bounds."""
        return math.isfinite(value) and (
            (self.ge is None or value >= self.ge)
            and (self.gt is None or value > self.gt)
            and (self.le is None or value <= self.le)
            and (self.lt is None or value < self.lt)
        )


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting of a configuration: full name, value, annotated type as it is written, description."""

    key: str
    value: Any
    kind: str
    description: Description

    @property
    def choices(self) -> tuple[str, ...]:
        """The names that a value, or an item of it, has to be one of; empty where any will do."""
        return (
            tuple(type(self.value).__members__) if isinstance(self.value, Enum) else self.description.choices
        )

    @property
    def expected(self) -> str:
        """What a value has to be, in words: `a whole number, at least 1, or null`."""
        kind, _, null = self.kind.partition(" | ")
        if self.choices:
            words = ("names among " if kind == "list[str]" else "one of ") + ", ".join(self.choices)
        elif self.description.path and kind == "str":
            words = "a path or URI" if self.description.path is PathKind.local else "a path or a model's name"
        else:
            words = WORDS[kind]
        bounds = f", {self.description.range}" if self.description.range else ""
        return f"{words}{bounds}{', or null' if null else ''}"


def walk_settings(config: Any, prefix: str = "") -> Iterator[Setting]:
    """Every setting of a configuration or of one section, in order; `prefix` goes before their names."""
    for each in fields(config):
        key, value = f"{prefix}{each.name}", getattr(config, each.name)
        if is_dataclass(value):
            yield from walk_settings(value, f"{key}.")
        else:
            yield Setting(key=key, value=value, kind=str(each.type), description=each.metadata[METADATA])


def setting(default: Any, help: str, **description: Any) -> Any:
    """A field of a settings class with its description."""
    return field(default=default, metadata={METADATA: Description(help=help, **description)})


def setting_of(factory: Any, help: str, **description: Any) -> Any:
    """The same for a default that each configuration needs its own of, as `factory` makes it."""
    return field(default_factory=factory, metadata={METADATA: Description(help=help, **description)})
