"""A setting's description says and holds its bounds, and every setting is met once."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import pytest

from prag_core.config.setting import Description, setting, setting_of, walk_settings


@pytest.mark.parametrize(
    ("bounds", "words", "allowed", "refused"),
    [
        ({"ge": 1}, "at least 1", (1, 7), (0, -1)),
        ({"gt": 0, "le": 1}, "above 0 and at most 1", (1, 0.5), (0, 1.1)),
        ({"ge": 0, "lt": 1}, "at least 0 and below 1", (0, 0.999), (1, -0.1)),
    ],
)
def test_bounds_are_said_and_held(
    bounds: dict[str, Any], words: str, allowed: tuple[float, ...], refused: tuple[float, ...]
) -> None:
    description = Description(help="a number", **bounds)
    assert description.range == words
    assert all(description.allows(value) for value in allowed)
    assert not any(description.allows(value) for value in (*refused, math.nan, math.inf))


@dataclass
class Section:
    size: int = setting(3, "how many", ge=1)
    names: list[str] = setting_of(lambda: ["a"], "which")


@dataclass
class Whole:
    title: str = setting("none", "what it is called")
    section: Section = field(default_factory=Section)


def test_the_walk_gives_full_names_values_types_and_descriptions() -> None:
    walked = list(walk_settings(Whole()))
    assert [(each.key, each.value, each.kind) for each in walked] == [
        ("title", "none", "str"),
        ("section.size", 3, "int"),
        ("section.names", ["a"], "list[str]"),
    ]
    assert walked[0].description.help == "what it is called"
    assert walked[1].description.range == "at least 1" and walked[1].expected == "a whole number, at least 1"
    assert [each.key for each in walk_settings(Section(), "s.")] == ["s.size", "s.names"]
