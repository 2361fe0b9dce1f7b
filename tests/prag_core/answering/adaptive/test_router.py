"""Which strategy a router chooses on probabilities made by hand, and what of a router file is believed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from prag_core.answering.adaptive.linear import Linear
from prag_core.answering.adaptive.router import Router, choose, load_router, save_router
from prag_core.errors import ConfigError

LINEAR = Linear(
    ("which",), np.zeros(1), np.ones(1), (0, 1), np.array([[0.0], [2.0]]), np.array([0.5, 0.0]), 2
)
ROUTER = Router(("closed_book", "rag"), LINEAR, False, "recipe", {"questions": "train.jsonl"})


@pytest.mark.parametrize(
    ("confidence", "place"), [(None, 1), (0.01, 0), (0.25, 0), (0.26, 1), (0.75, 1), (0.76, 2), (1.0, 2)]
)
def test_the_likeliest_or_the_cheapest_that_is_likely_enough(confidence: float | None, place: int) -> None:
    assert choose(np.array([0.25, 0.5, 0.25]), confidence) == place


def test_certainty_does_not_ask_for_what_is_never_needed() -> None:
    assert choose(np.array([0.25, 0.75, 0.0]), 1.0) == 1
    assert choose(np.array([0.1] * 10), 1.0) == 9  # ten tenths add up to a little less than 1


def test_of_equal_ones_the_cheaper_is_taken() -> None:
    assert choose(np.array([0.5, 0.5]), None) == 0


def test_a_saved_router_routes_alike(tmp_path: Path) -> None:
    where = save_router(ROUTER, str(tmp_path / "routers"), "adaptive_rag")
    assert where == str(tmp_path / "routers/adaptive_rag.json")
    again = load_router(str(tmp_path / "routers"), "adaptive_rag")
    described = [{"which": 1.0}, {}]
    assert again.route(described, None) == ROUTER.route(described, None) == ["rag", "closed_book"]
    assert (again.recipe_id, again.trained_on) == ("recipe", {"questions": "train.jsonl"})


def test_without_a_router_the_error_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"methods\.router is not set.*prag train-router --method adaptive_prag"
    ):
        load_router(None, "adaptive_prag")
    with pytest.raises(ConfigError, match=r"adaptive_prag\.json: there is no router.*prag train-router"):
        load_router(str(tmp_path), "adaptive_prag")


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 99}', '{"format": 1, "strategies": ["rag"]}'])
def test_what_is_no_router_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "adaptive_rag.json").write_text(text)
    with pytest.raises(ConfigError, match="train it again"):
        load_router(str(tmp_path), "adaptive_rag")


def test_a_router_whose_numbers_were_damaged_is_refused(tmp_path: Path) -> None:
    path = Path(save_router(ROUTER, str(tmp_path), "adaptive_rag"))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"weights": [[1.0]]}))
    with pytest.raises(ConfigError, match="damaged"):
        load_router(str(tmp_path), "adaptive_rag")
