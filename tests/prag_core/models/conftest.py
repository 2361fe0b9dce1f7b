"""`tokenizer`: one of each style. The cache of converted models is each test's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerBase

from tests.prag_core.models.tokenizers import STYLES


@pytest.fixture(scope="session", params=STYLES)
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerBase:
    """One of each style."""
    return STYLES[request.param]()


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of converted models."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("PRAG_MODELS", str(folder))
    return folder
