"""`tokenizer`: one of each style."""

from __future__ import annotations

import pytest
from transformers import PreTrainedTokenizerBase

from tests.prag_core.models.tokenizers import STYLES


@pytest.fixture(scope="session", params=STYLES)
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerBase:
    """One of each style."""
    return STYLES[request.param]()
