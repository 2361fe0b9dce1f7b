"""The benchmark of steps trains both objectives and counts the products that each needs."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import models, step

TINY = {
    "model_type": "llama",
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 50,
}
LAYERS = 2 * (3 * 16 * 24 + 2 * 16 * 16 + 2 * 16 * 8 + 2 * 16)  # parameters of the layers
HEAD = 16 * 50


def test_both_objectives_are_measured_by_the_products_that_they_need(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(models.SHAPES, "tiny", TINY)
    results = step.main(["--model", "tiny", "--documents", "3", "--steps", "2"])
    rows: dict[str, Any] = {row["objective"]: row for row in results["objectives"]}
    asked = rows["next_token"]
    assert asked["flop"] == 4 * (LAYERS * asked["tokens"] + HEAD * (asked["tokens"] - 3 * 2))
    samples = [sample for document in step.SAMPLES["distill"](3, 50) for sample in document[:2]]
    labels = sum(label >= 0 for sample in samples for label in sample.labels)
    read = sum(len(sample.teacher_ids) for sample in samples)
    tokens = sum(len(sample.token_ids) for sample in samples)
    assert rows["distill"]["flop"] == 4 * (LAYERS * tokens + HEAD * labels) + 2 * (
        LAYERS * read + HEAD * labels
    )
    assert "utilisation %" in capsys.readouterr().out
