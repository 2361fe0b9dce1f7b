"""A description becomes runs, or is refused with the file and the row that is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from prag_core.answering.adaptive.linear import Linear
from prag_core.answering.adaptive.router import Router, save_router
from prag_core.config.schema import EngineKind
from prag_core.errors import ConfigError
from prag_core.experiments.table import Table
from prag_core.experiments.table_file import load_table

ROOT = Path(__file__).resolve().parents[3]
Write = Callable[..., Table]


@pytest.fixture
def table(tmp_path: Path) -> Write:
    """`table(rows, overrides=[…], **fields)`: the table of that description."""

    def load(rows: Any, overrides: tuple[str, ...] = (), /, **fields: Any) -> Table:
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump({"methods": ["prag"], "rows": rows} | fields))
        return load_table(str(path), overrides)

    return load


def labels(made: Table) -> list[str]:
    return [run.name for run in made.runs]


def test_runs_are_rows_times_methods_in_order_of_method_then_row(table: Write) -> None:
    made = table(
        [{"label": "a"}, {"label": "b", "methods": ["rag", "prag"]}, {"label": "c"}],
        methods=["prag", "combine"],
    )
    assert labels(made) == ["prag@a", "prag@b", "prag@c", "combine@a", "combine@c", "rag@b"]
    assert (made.name, made.title) == ("mine", "mine")


def test_a_row_without_a_label_has_its_methods_names(table: Write) -> None:
    made = table([{"methods": ["rag", "prag"]}, {"label": "k 1", "settings": {"retrieval.top_k": 1}}])
    assert labels(made) == ["rag", "prag", "prag@k 1"]
    assert [run.row.name for run in made.runs] == ["row 1", "row 1", "k 1"]


def test_later_settings_win_file_then_table_then_command_line_then_row(table: Write, tmp_path: Path) -> None:
    base = tmp_path / "base.yaml"
    base.write_text("recipe: mini\ntraining: {rank: 3, epochs: 3, learning_rate: 3.0, weight_decay: 3.0}\n")
    rows = [{"label": "base"}, {"label": "row", "settings": {"training": {"weight_decay": 6}}}]
    settings = {"training.epochs": 4, "training": {"learning_rate": 4.0}, "training.weight_decay": 4.0}
    made = table(
        rows, ("training.learning_rate=5", "training.weight_decay=5"), config=str(base), settings=settings
    )
    first, second = (run.config.training for run in made.runs)
    assert (first.rank, first.epochs, first.learning_rate, first.weight_decay) == (3, 4, 5, 5)
    assert second.weight_decay == 6 and made.config.training == first
    assert first.replay_samples == 12, "the recipe that the file names comes beneath it"
    assert made.runs[1].row.settings == {"training.weight_decay": 6}


def test_texts_in_a_table_keep_their_characters_and_numbers_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "methods: [rag]\nrows: [{label: 007, settings: {model.revision: 0123, training.rank: 4}}]\n"
    )
    (run,) = load_table(str(path)).runs
    assert (run.name, run.config.model.revision, run.config.training.rank) == ("rag@007", "0123", 4)
    assert run.row.settings == {"model.revision": "0123", "training.rank": 4}, "as reports have them"


def test_a_row_may_have_its_own_recipe_and_engine(table: Write) -> None:
    rows = [
        {"label": "a"},
        {"settings": {"recipe": "mini", "engine.kind": "transformers"}, "methods": ["dragin"]},
    ]
    made = table(rows)
    assert made.runs[0].config.training.replay_samples == 0
    assert made.runs[1].config.training.replay_samples == 12
    assert made.runs[1].config.engine.kind is EngineKind.transformers


def test_each_method_is_compared_with_its_own_first_row_or_with_the_baselines_named(table: Write) -> None:
    rows: list[Any] = [{"label": "a"}, {"label": "b"}, {"methods": ["rag"]}]
    fields: Any = {"methods": ["prag", "combine"]}
    assert table(rows, **fields).pairs == (("prag@b", "prag@a"), ("combine@b", "combine@a"))
    made = table(rows, **fields, baselines=["rag", "prag@b"])
    others = ["prag@a", "combine@a", "combine@b"]
    assert set(made.pairs) == {
        ("prag@b", "rag"),
        *((o, "rag") for o in others),
        *((o, "prag@b") for o in others),
    }
    assert len(made.pairs) == 7


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"label": "x", "settings": {"training.epoch": 1}},
            r"row 2 \(x\): unknown setting training\.epoch; did you mean",
        ),
        (
            {"label": "x", "settings": {"training.epochs": 0}},
            r"row 2 \(x\): training\.epochs=0: expected a whole number, at least 1",
        ),
        (
            {"label": "x", "settings": {"training.objective": "nope"}},
            r"row 2 \(x\): training\.objective=nope: expected one of next_token, answer, distill\.",
        ),
        (
            {"label": "x", "settings": {"merge.rule": "tie"}},
            r"row 2 \(x\): merge\.rule=tie: expected one of sum, .*; did you mean ties",
        ),
        ({"label": "x", "settings": {"recipe": "nope"}}, r"row 2 \(x\): recipe=nope"),
        ({"label": "x", "methods": ["pragg"]}, r"row 2 \(x\): no method 'pragg'; did you mean prag"),
        ({"label": "x", "methods": ["dragin"]}, r"row 2 \(x\): .*dragin.*transformers"),
        ({"label": "x", "methods": "prag"}, r"row 2 \(x\): methods is 'prag'; expected a list"),
        ({"label": "x", "settings": "prag"}, r"row 2 \(x\): settings is 'prag'"),
        ({"label": "x", "setings": {}}, r"row 2 \(x\): unknown field setings; did you mean settings"),
        (
            {"label": "x", "settings": {"evaluate": {"limit": 3}}},
            r"row 2 \(x\): evaluate\.limit is not a row's",
        ),
        ({"label": "x", "settings": {"bank.uri": "here"}}, r"row 2 \(x\): bank\.uri is not a row's"),
        ({"label": "x@y"}, r"row 2 \(x@y\): a label cannot have @"),
        ({"label": "a"}, r"two rows make prag@a"),
        ("prag", r"row 2: expected a mapping"),
    ],
)
def test_a_bad_row_is_refused_with_its_file_and_name(table: Write, row: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=r"mine\.yaml.*" + message):
        table([{"label": "a"}, row])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rows": []}, "rows is empty"),
        ({"rwos": []}, "unknown field rwos; did you mean rows"),
        ({"methods": None}, r"row 1 \(a\): no methods"),
        ({"baselines": ["prag@b"]}, "baselines has prag@b, which no row makes; did you mean prag@a"),
        ({"config": "nowhere.yaml"}, "nowhere.yaml: no such file"),
        ({"settings": {"corpus.limt": 3}}, r"corpus\.limt; did you mean corpus\.limit"),
        ({"title": "${nope:1}"}, "nope"),
    ],
)
def test_a_bad_table_is_refused(table: Write, fields: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        table([{"label": "a"}], **fields)


@pytest.mark.parametrize(
    "file", [*sorted((ROOT / "conf/ablations").glob("*.yaml")), ROOT / "conf/compare.yaml"]
)
def test_the_tables_that_come_with_the_code_are_sound(file: Path, tmp_path: Path) -> None:
    linear = Linear(
        ("which",), np.zeros(1), np.ones(1), (0, 1), np.array([[0.0], [2.0]]), np.array([0.5, 0.0]), 2
    )
    for method in ("adaptive_rag", "adaptive_prag"):
        save_router(Router(("closed_book", "rag"), linear, False, "recipe"), str(tmp_path), method)
    made = load_table(str(file), (f"methods.router={tmp_path}",))
    assert made.title != made.name and made.pairs
