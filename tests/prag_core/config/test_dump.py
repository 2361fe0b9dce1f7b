"""Values are written as users type them, and configurations as plain values."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from prag_core.config.dump import as_dict, as_typed
from prag_core.config.load import load_config
from prag_core.config.schema import Tier


def test_as_dict_is_plain_values_with_enums_by_name() -> None:
    values: dict[str, Any] = as_dict(load_config().bank)
    assert values["tier"] == "fp32" and values["shard_documents"] == 512


def test_a_configuration_that_was_not_loaded_can_be_written_too() -> None:
    """In a process of its own, since `load` need not be imported for it."""
    program = "from prag_core.config import dump, schema; print(dump.as_yaml(schema.Config()))"
    written = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "examples/mini/corpus.jsonl" in written.stdout and "${" not in written.stdout


@pytest.mark.parametrize(
    ("value", "typed"),
    [
        (None, "null"),
        (True, "true"),
        (0.75, "0.75"),
        (7, "7"),
        ("0123", "0123"),
        (["a", "b"], "[a, b]"),
        ({}, "{}"),
        (Tier.bf16, "bf16"),
    ],
)
def test_a_value_is_written_as_it_is_typed(value: Any, typed: str) -> None:
    assert as_typed(value) == typed
