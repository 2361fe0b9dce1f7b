"""The packages that only evaluation and experiments need: the extra `evaluate`, which serving and making banks do without."""

from __future__ import annotations

from prag_core.versions import require_installed


def require(*packages: str) -> None:
    """Raise ConfigError with the command that installs them, unless all of these packages are installed. Imports none."""
    require_installed("evaluation", "evaluate", *packages)
