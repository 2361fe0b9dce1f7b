"""The packages that only evaluation and experiments need: the extra `evaluate`, which serving and making banks do without."""

from __future__ import annotations

from importlib.util import find_spec

from prag_core.errors import ConfigError


def require(*packages: str) -> None:
    """Raise ConfigError with the command that installs them, unless all of these packages are installed. Imports none."""
    if missing := [package for package in packages if find_spec(package) is None]:
        raise ConfigError(
            f'evaluation needs {" and ".join(missing)}, not installed here; run: pip install "prag[evaluate]"'
        )
