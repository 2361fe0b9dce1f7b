"""YAML in which every value keeps its characters: `0123`, `2024_11_26` and `yes` stay text, and only null is not text.

Types are the schema's to give, so that a setting of type text is what was typed, and a number is made of it where one belongs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import yaml
from omegaconf import DictConfig, OmegaConf

from prag_core.errors import ConfigError

KEPT_TAGS = ("tag:yaml.org,2002:null", "tag:yaml.org,2002:merge")


class _TextLoader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML has no types
    yaml_implicit_resolvers: ClassVar[dict[str, list[tuple[str, Any]]]] = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag in KEPT_TAGS]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse a key that is there twice, of which YAML would take the last without a word."""
        names = [key.value for key, _ in node.value if key.tag != KEPT_TAGS[1]]
        if repeated := next((name for name in names if names.count(name) > 1), None):
            raise yaml.constructor.ConstructorError(None, None, f"{repeated} is there twice", node.start_mark)
        return super().construct_mapping(node, deep)


def parse_yaml(text: str) -> Any:
    """Parse YAML into mappings, lists, texts and None. Raises YAMLError."""
    return yaml.load(text, Loader=_TextLoader)


def load_yaml(path: Path) -> DictConfig:
    """Read a mapping from a YAML file, every value in it a text. Raises ConfigError, naming the file."""
    try:
        loaded = OmegaConf.create(parse_yaml(path.read_text(encoding="utf-8")) or {})
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except Exception as error:
        raise ConfigError(f"{path}: not readable as YAML: {error}") from None
    if not isinstance(loaded, DictConfig):
        raise ConfigError(f"{path}: expected a mapping of settings")
    return loaded
