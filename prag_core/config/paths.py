"""Settings that name files and folders, made absolute once, when settings are loaded: every command reads them the same.

- `~` is the home folder, and a relative path is relative to the working directory, wherever it is written.
- `file://` before a path changes nothing. Other URIs stay as they are.
- A model's path is a folder where there is one of that name, or a file that ends in .gguf; otherwise a name, which stays.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from prag_core.config.schema import Config
from prag_core.config.setting import PathKind, walk_settings

LOCAL = ("file://", "local://")
SURELY_A_PATH = ("/", "~", "./", "../")  # names of models do not begin so


def resolve_paths(config: Config) -> Config:
    """Make the paths of a configuration absolute. The schema says which settings are paths."""
    sections: dict[str, dict[str, Any]] = {}
    for setting in walk_settings(config):
        kind = setting.description.path if setting.description else None
        if kind is None or setting.value is None:
            continue
        section, name = setting.key.split(".")
        sections.setdefault(section, {})[name] = (
            {label: resolve_path(uri, kind) for label, uri in setting.value.items()}
            if isinstance(setting.value, dict)
            else resolve_path(setting.value, kind)
        )
    changed = {name: replace(getattr(config, name), **paths) for name, paths in sections.items()}
    return replace(config, **changed)


def resolve_path(uri: str, kind: PathKind) -> str:
    """Return the absolute path of a local file or folder, and any other URI or name as it is."""
    plain = next((uri.removeprefix(scheme) for scheme in LOCAL if uri.startswith(scheme)), uri)
    if "://" in plain:
        return uri
    path = os.path.abspath(os.path.expanduser(plain))
    is_name = kind is PathKind.model and plain == uri and not uri.startswith(SURELY_A_PATH)
    return uri if is_name and not is_gguf(uri) and not os.path.isdir(path) else path


def is_gguf(path: str) -> bool:
    """Whether a model's path is of a GGUF file, by its ending."""
    return path.lower().endswith(".gguf")
