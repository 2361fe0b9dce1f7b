"""A table's description: a YAML file → rows of checked configurations, or an error that names the file and the row.

    title: Training
    config: ${root:conf/demo.yaml}          # a file of settings, as --config gives one; may be left out
    settings: {corpus.limit: 60}            # of every row, with dots or nested
    methods: [prag, combine]                # of every row that names none
    baselines: [rag, prag]                  # what all are compared with; left out: each method's own first row
    rows:
      - label: recipe mini
      - {label: 1 epoch, settings: {training.epochs: 1}}
      - {label: text, methods: [rag]}

A row's settings win over those of the command line, which win over the table's. A run is one method under one row's settings,
called `method@label`, or `method` where the row has no label. Rows may differ in anything but what they are measured by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from prag_core.answering.registry import find_method, most_documents
from prag_core.config.load import absolute_paths, load_config, load_yaml
from prag_core.config.schema import Config
from prag_core.errors import ConfigError, PragError, did_you_mean
from prag_core.merging import find_rule
from prag_core.training.trainer import TrainingSettings

TABLE_FIELDS = ("title", "config", "settings", "methods", "baselines", "rows")
ROW_FIELDS = ("label", "settings", "methods")
Load = Callable[[Mapping[str, Any]], Config]  # a row's settings → its configuration
NOT_A_ROWS = ("evaluate", "ablate", "serve", "bank.uri", "augmentation.uri")  # settings and sections


@dataclass(frozen=True)
class Run:
    """One method under one row's settings. `label` is its name in the table."""

    label: str
    row: str
    method: str
    settings: Mapping[str, Any]  # of the row, by full name
    config: Config


@dataclass(frozen=True)
class Table:
    """`runs` are in order of method, then row; `config` is what holds for all of them, `pairs` what is compared."""

    name: str
    title: str
    config: Config
    runs: tuple[Run, ...]
    pairs: tuple[tuple[str, str], ...]


def load_table(file: str, overrides: Sequence[str] = (), config_files: Sequence[str] = ()) -> Table:
    """Read and check a table. Raises ConfigError, naming file and row, for whatever could not be run: unknown settings and
    methods, methods that the row's engine cannot run, two runs of one name."""
    fields = _fields(file)
    beneath = _mapping(file, "settings", fields)
    files = config_files or ([str(fields["config"])] if fields.get("config") else [])

    def load(settings: Mapping[str, Any]) -> Config:
        return absolute_paths(load_config([beneath, *overrides, settings], *files))

    runs = [
        run
        for number, row in enumerate(_rows(file, fields), 1)
        for run in _runs(file, number, row, fields, load)
    ]
    order = list(dict.fromkeys(run.method for run in runs))
    runs.sort(key=lambda run: order.index(run.method))
    names = [run.label for run in runs]
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"{file}: two rows make {repeated}; give each row a label of its own")
    baselines = _names(file, "baselines", fields)
    for baseline in baselines or ():
        if baseline not in names:
            raise ConfigError(
                f"{file}: baselines has {baseline}, which no row makes{did_you_mean(baseline, names)}"
            )
    title = str(fields.get("title") or Path(file).stem)
    return Table(Path(file).stem, title, load({}), tuple(runs), tuple(_pairs(runs, baselines)))


def _runs(file: str, number: int, row: Any, table: Mapping[str, Any], load: Load) -> Iterator[Run]:
    place = f"{file}, row {number}"
    if not isinstance(row, dict):
        raise ConfigError(f"{place}: expected a mapping of {', '.join(ROW_FIELDS)}")
    label = "" if row.get("label") is None else str(row["label"])
    place = f"{place} ({label})" if label else place
    _refuse_unknown(place, row, ROW_FIELDS)
    if any(sign in label for sign in "@|\n"):
        raise ConfigError(f"{place}: a label cannot have @, | or a line break")
    settings = _flat(_mapping(place, "settings", row))
    for name in settings:
        if name in NOT_A_ROWS or name.split(".")[0] in NOT_A_ROWS:
            raise ConfigError(
                f"{place}: {name} is not a row's to set: it is the same for all, or chosen by prag ablate"
            )
    methods = _names(place, "methods", row) or _names(file, "methods", table)
    if not methods:
        raise ConfigError(f"{place}: no methods; name them in the row, or for all rows in the table")
    try:
        config = load(settings)
        _check(config, methods)
    except PragError as error:
        raise type(error)(f"{place}: {error}") from None
    for method in methods:
        yield Run(
            f"{method}@{label}" if label else method, label or f"row {number}", method, settings, config
        )


def _check(config: Config, methods: Sequence[str]) -> None:
    """Raise for what a configuration asks for by a name that is not there, and for what its engine cannot run."""
    most_documents([find_method(name) for name in methods], config)
    find_rule(config.merge.rule)
    TrainingSettings.from_config(config.training)


def _pairs(runs: Sequence[Run], baselines: Sequence[str] | None) -> Iterator[tuple[str, str]]:
    """Every run with each baseline, once; without any, with the first run of its method."""
    if baselines is None:
        first: dict[str, str] = {}
        for run in runs:
            if (baseline := first.setdefault(run.method, run.label)) != run.label:
                yield run.label, baseline
        return
    for number, baseline in enumerate(baselines):
        yield from ((run.label, baseline) for run in runs if run.label not in baselines[: number + 1])


def _fields(file: str) -> dict[str, Any]:
    try:
        fields: Any = OmegaConf.to_container(load_yaml(Path(file)), resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{file}: {str(error).splitlines()[0]}") from None
    _refuse_unknown(file, fields, TABLE_FIELDS)
    return dict(fields)


def _rows(file: str, fields: Mapping[str, Any]) -> list[Any]:
    rows = fields.get("rows")
    if not isinstance(rows, list) or not rows:
        raise ConfigError(f"{file}: rows is empty; a table is a list of rows, each with a label and settings")
    return rows


def _refuse_unknown(place: str, fields: Mapping[Any, Any], known: Sequence[str]) -> None:
    for name in fields:
        if name not in known:
            raise ConfigError(
                f"{place}: unknown field {name}{did_you_mean(str(name), known)} (known: {', '.join(known)})"
            )


def _mapping(place: str, name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    value = fields.get(name) or {}
    if not isinstance(value, dict):
        raise ConfigError(f"{place}: {name} is {value!r}; expected settings by name, e.g. training.epochs: 2")
    return value


def _names(place: str, name: str, fields: Mapping[str, Any]) -> list[str] | None:
    value = fields.get(name)
    if value is not None and not (
        isinstance(value, list) and value and all(isinstance(item, str) for item in value)
    ):
        raise ConfigError(f"{place}: {name} is {value!r}; expected a list of names")
    return value


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings under their full names."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat
