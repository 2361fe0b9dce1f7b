"""A published table's description in YAML, read and checked: rows, columns and published numbers. Errors name file and field.

    title: "Table 2: …"
    columns: {2wiki: [Total], popqa: [Total]}     # question sets, and which of their types (`types` in setup.yaml)
    measure: f1                                   # or seconds, loading_seconds (of the adapters); a row may have its own
    settings: {engine.max_sequences: 1}           # of every row
    rows:
      - {label: P-RAG, method: prag, settings: {…}, warm: false}      # warm: from the warmed-up initial adapter
    published:                                    # by model and row, a figure for each column in their order
      llama-3.2-1b: {P-RAG: [.2764, .2205]}

conf/paper/setup.yaml has what the tables share: settings, models, question sets and where those are had.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prag_core.config.load import CONF
from prag_core.errors import ConfigError
from prag_core.experiments.fields import items_in, one_of, read_fields, refuse_unknown

FOLDER = CONF / "paper"
SETUP = "setup"
MEASURES = ("f1", "seconds", "loading_seconds")
Settings = Mapping[str, Any]
Column = tuple[str, str]  # (question set, type of question as the table names it)


@dataclass(frozen=True)
class Dataset:
    """A question set: where its file lies under `paper.data`, where it is had, and its types by their names in a table."""

    name: str
    title: str
    questions: str
    source: str
    types: Mapping[str, str | None]
    settings: Settings


@dataclass(frozen=True)
class Model:
    """A language model and its settings (`datasets`: for one question set only)."""

    name: str
    title: str
    settings: Settings
    datasets: Mapping[str, Settings]


@dataclass(frozen=True)
class Setup:
    """Settings, models and question sets that all tables share."""

    settings: Settings
    models: Mapping[str, Model]
    datasets: Mapping[str, Dataset]
    corpus_source: str


@dataclass(frozen=True, kw_only=True)
class PaperRow:
    """One row of a published table: a method under settings, and what of its answers is shown. `warm`: it starts from the
    warmed-up initial adapter."""

    label: str
    method: str
    settings: Settings
    measure: str
    warm: bool


@dataclass(frozen=True)
class PaperTable:
    """A table of one or more models. `published[model][row]` has a figure for each of `columns`."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[PaperRow, ...]
    settings: Settings
    published: Mapping[str, Mapping[str, Mapping[Column, float]]]

    @property
    def datasets(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(dataset for dataset, _ in self.columns))

    def answered_by(self, row: PaperRow) -> PaperRow:
        """Return the first row with the same answers: rows may differ only in what is measured."""
        return next(
            r for r in self.rows if (r.method, r.settings, r.warm) == (row.method, row.settings, row.warm)
        )


def table_names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.yaml") if path.stem != SETUP)


def load_setup() -> Setup:
    """Read conf/paper/setup.yaml."""
    fields = read_fields(FOLDER / f"{SETUP}.yaml", resolve=False)
    models = {
        name: Model(name, m["title"], m["settings"], m.get("datasets") or {})
        for name, m in fields["models"].items()
    }
    datasets = {
        name: Dataset(name, d["title"], d["questions"], d["source"], d["types"], d.get("settings") or {})
        for name, d in fields["datasets"].items()
    }
    return Setup(fields["settings"], models, datasets, fields["corpus_source"])


def load_paper_table(name: str, setup: Setup) -> PaperTable:
    """Read the table of that name in conf/paper, or a YAML file. Raises ConfigError for whatever does not fit together."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    if name == SETUP or not path.exists():
        raise ConfigError(
            f"no table {name!r}; there are {', '.join(table_names())}, or the path of a YAML file"
        )
    fields = read_fields(path, resolve=False)
    refuse_unknown(f"{path}", fields, ("title", "columns", "measure", "settings", "rows", "published"))
    columns = tuple(_columns(path, fields, setup))
    measure = one_of(f"{path}", "measure", fields.get("measure", MEASURES[0]), MEASURES)
    rows = tuple(
        _row(f"{path}, row {number}", row, measure)
        for number, row in enumerate(items_in(f"{path}", "rows", fields), 1)
    )
    labels = [row.label for row in rows]
    if repeated := next((label for label in labels if labels.count(label) > 1), None):
        raise ConfigError(f"{path}: two rows are labelled {repeated}")
    published = {}
    for model, figures in (fields.get("published") or {}).items():
        place = f"{path}, published"
        published[one_of(place, "model", model, setup.models)] = _figures(
            f"{place}, {model}", figures, labels, columns
        )
    return PaperTable(
        path.stem,
        str(fields.get("title") or path.stem),
        columns,
        rows,
        fields.get("settings") or {},
        published,
    )


def _columns(path: Path, fields: Settings, setup: Setup) -> list[Column]:
    columns = fields.get("columns")
    if not isinstance(columns, dict) or not columns:
        raise ConfigError(
            f"{path}: columns is {columns!r}; expected question sets with their types, e.g. 2wiki: [Total]"
        )
    for dataset, types in columns.items():
        one_of(f"{path}, columns", "question set", dataset, setup.datasets)
        for type in types:
            one_of(f"{path}, columns, {dataset}", "type", type, setup.datasets[dataset].types)
    return [(dataset, type) for dataset, types in columns.items() for type in types]


def _row(place: str, row: Any, measure: str) -> PaperRow:
    if not isinstance(row, dict) or not row.get("label") or not row.get("method"):
        raise ConfigError(f"{place}: expected a mapping with label and method, found {row!r}")
    refuse_unknown(place, row, ("label", "method", "settings", "measure", "warm"))
    measure = one_of(place, "measure", row.get("measure", measure), MEASURES)
    return PaperRow(
        label=str(row["label"]),
        method=str(row["method"]),
        settings=row.get("settings") or {},
        measure=measure,
        warm=one_of(place, "warm", row.get("warm", "false"), ("true", "false")) == "true",
    )


def _figures(
    place: str, rows: Any, labels: Sequence[str], columns: Sequence[Column]
) -> dict[str, dict[Column, float]]:
    for label, figures in rows.items():
        one_of(place, "row", label, labels)
        if len(figures) != len(columns):
            raise ConfigError(
                f"{place}: {label} has {len(figures)} figures, but there are {len(columns)} columns"
            )
    return {label: dict(zip(columns, map(float, figures), strict=True)) for label, figures in rows.items()}
