"""An evaluation that cannot be run says so before anything is loaded; one that can is in tests/test_line.py."""

from __future__ import annotations

import pytest

from prag_core.config.load import load_config
from prag_core.errors import ConfigError
from prag_core.evaluation.run import evaluate


@pytest.mark.parametrize(
    ("methods", "complaint"),
    [
        ("[]", "name at least one"),
        ("[rag,pragg]", "no method 'pragg'; did you mean prag"),
        ("[prag@other]", "no evaluate.banks.other says where"),
        ("[dragin]", "engine.kind=transformers"),
    ],
)
def test_methods_that_cannot_run_are_refused_before_bank_and_model_are_looked_for(
    methods: str, complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        evaluate(load_config([f"evaluate.methods={methods}", "bank.uri=nowhere", "model.path=nowhere"]))
