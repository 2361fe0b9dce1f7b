"""Which values are tried, which one is taken, and that the file says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from prag_core.config.load import load_config
from prag_core.evaluation.costs import Summary
from prag_core.experiments.calibrate import (
    Calibration,
    as_settings,
    as_text_table,
    choose,
    grid,
    write_settings,
)


def row(f1: float, retrievals: float, tokens: float = 10.0) -> Summary:
    return Summary(name="value", em=f1, f1=f1, f1_ci=(f1, f1), retrievals=retrievals, tokens=tokens, ms=1.0)


def test_each_value_acts_on_another_share_of_what_was_observed() -> None:
    observed = np.arange(1001) / 1000
    assert grid(observed.tolist(), 5, None) == [0.1, 0.3, 0.5, 0.7, 0.9]


def test_doubles_zeros_and_the_value_that_is_set_are_not_tried_again() -> None:
    assert grid([0.0, 0.0, 0.5, 0.5, 0.5, 0.5], 3, None) == [0.5]
    assert grid([0.5] * 4, 3, 0.5) == [] == grid([], 3, None)


@pytest.mark.parametrize(
    ("rows", "tolerance", "place"),
    [
        ([row(0.5, 1), row(0.6, 3), row(0.55, 2)], 0.0, 1),
        ([row(0.5, 1), row(0.6, 3), row(0.55, 2)], 0.05, 2),  # 0.55 is near enough, and retrieves less
        ([row(0.5, 1), row(0.6, 3), row(0.55, 2)], 0.2, 0),
        ([row(0.6, 2, 30), row(0.6, 2, 20)], 0.0, 1),
        ([row(0.6, 2), row(0.6, 2)], 0.0, 0),  # what is set stays
    ],
)
def test_the_best_is_taken_or_the_cheapest_that_is_near_it(
    rows: list[Summary], tolerance: float, place: int
) -> None:
    assert choose(rows, tolerance) == place


def test_the_file_holds_the_chosen_values_and_wins_over_an_earlier_one(tmp_path: Path) -> None:
    rows = (row(0.5, 1), row(0.6, 1))
    chosen = [
        Calibration("flare", "flare_threshold", 3, (None, 0.25), rows, 1),
        Calibration("dragin", "dragin_threshold", 3, (None, 0.25), rows, 0),
    ]
    out = tmp_path / "deep/thresholds.yaml"
    write_settings(as_settings(chosen, "dev.jsonl"), str(out))
    earlier = tmp_path / "mine.yaml"
    earlier.write_text("methods: {flare_threshold: 0.5, dragin_threshold: 0.5, max_rounds: 2}\n")
    methods = load_config([], str(earlier), str(out)).methods
    assert (methods.flare_threshold, methods.dragin_threshold, methods.max_rounds) == (0.25, None, 2)
    assert "flare, dragin" in out.read_text() and "dev.jsonl" in out.read_text()


def test_a_choice_at_the_end_of_what_was_tried_is_said_to_be_one() -> None:
    rows = (row(0.5, 1), row(0.6, 1), row(0.7, 1))
    notes = [
        as_text_table(Calibration("flare", "flare_threshold", 3, (0.2, 0.1, 0.3), rows, place), 0.01).note
        for place in range(3)
    ]
    assert ["at an end" in note for note in notes] == [False, True, True]
