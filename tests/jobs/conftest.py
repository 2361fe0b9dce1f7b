"""Questions of the miniature world, and settings to answer them from a bank without adapters."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.untrained import make_untrained_bank

MINI = Path(__file__).resolve().parents[2] / "examples/mini"


def write_questions(path: Path, source: str, **counts: int) -> str:
    """The first so many questions of each type of a file of the miniature world."""
    rows = [json.loads(line) for line in (MINI / source).read_text().splitlines()]
    kept = [
        row for kind, count in counts.items() for row in [row for row in rows if row["type"] == kind][:count]
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in kept))
    return str(path)


@pytest.fixture(scope="package")
def reading_settings(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    bank = make_untrained_bank(tmp_path_factory.mktemp("reading"))
    return [*bank, "engine.kind=transformers", "engine.dtype=float32", "evaluate.num_resamples=100"]
