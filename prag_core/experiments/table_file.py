"""A table's description in YAML, read and checked; errors name the file and the row.

    title: Training
    config: ${root:conf/demo.yaml}          # a file of settings, as --config gives one; optional
    settings: {corpus.limit: 60}            # of every row, with dots or nested
    methods: [prag, combine]                # of every row that names none
    baselines: [rag, prag]                  # what all runs are compared with; default: each method's own first row
    rows:
      - label: recipe mini
      - {label: 1 epoch, settings: {training.epochs: 1}}
      - {label: text, methods: [rag]}

A row's settings win over those of the command line, which win over the table's. Rows may differ in every setting except those
that they are measured by (`evaluate`) and those that `prag ablate` chooses (where banks lie).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from prag_core.answering.registry import find_method, most_documents
from prag_core.config.full_names import flatten
from prag_core.config.load import load_config
from prag_core.config.schema import Config
from prag_core.errors import ConfigError, PragError, did_you_mean
from prag_core.experiments.fields import items_in, names_in, read_fields, refuse_unknown, settings_in
from prag_core.experiments.table import (
    Row,
    Run,
    Table,
    make_run,
    pair_with_baselines,
    pair_with_first_rows,
    settings_of,
)

TABLE_FIELDS = ("title", "config", "settings", "methods", "baselines", "rows")
ROW_FIELDS = ("label", "settings", "methods")
NOT_A_ROWS = ("evaluate", "ablate", "serve", "bank.uri", "augmentation.uri")  # settings and sections
Load = Callable[[Mapping[str, Any]], Config]  # a row's settings → its configuration


def load_table(file: str, overrides: Sequence[str] = (), config_files: Sequence[str] = ()) -> Table:
    """Read and check a table. Raises ConfigError, naming file and row, for whatever could not be run: unknown settings and
    methods, methods that the row's engine cannot run, two runs of one name."""
    fields = read_fields(file, resolve=True)
    refuse_unknown(file, fields, TABLE_FIELDS)
    shared = settings_in(file, "settings", fields)
    files = config_files or ([str(fields["config"])] if fields.get("config") else [])

    def load(settings: Mapping[str, Any]) -> Config:
        return load_config([shared, *overrides, settings], *files)

    methods = names_in(file, "methods", fields)
    runs = [
        run
        for number, row in enumerate(items_in(file, "rows", fields), 1)
        for run in _runs(f"{file}, row {number}", f"row {number}", row, methods, load)
    ]
    order = list(dict.fromkeys(run.method for run in runs))
    runs.sort(key=lambda run: order.index(run.method))
    names = [run.name for run in runs]
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"{file}: two rows make {repeated}; give each row a label of its own")
    baselines = names_in(file, "baselines", fields)
    for baseline in baselines or ():
        if baseline not in names:
            raise ConfigError(
                f"{file}: baselines has {baseline}, which no row makes{did_you_mean(baseline, names)}"
            )
    pairs = pair_with_first_rows(runs) if baselines is None else pair_with_baselines(names, baselines)
    stem = Path(file).stem
    title = str(fields.get("title") or stem)
    return Table(name=stem, title=title, config=load({}), runs=tuple(runs), pairs=tuple(pairs))


def _runs(place: str, name: str, fields: Any, methods: Sequence[str] | None, load: Load) -> Iterator[Run]:
    """Check a row, called `name` where it has no label, and make its runs."""
    if not isinstance(fields, dict):
        raise ConfigError(f"{place}: expected a mapping of {', '.join(ROW_FIELDS)}")
    label = "" if fields.get("label") is None else str(fields["label"])
    place = f"{place} ({label})" if label else place
    refuse_unknown(place, fields, ROW_FIELDS)
    if any(sign in label for sign in "@|\n"):
        raise ConfigError(f"{place}: a label cannot have @, | or a line break")
    settings = flatten(settings_in(place, "settings", fields))
    for setting in settings:
        if setting in NOT_A_ROWS or setting.split(".")[0] in NOT_A_ROWS:
            raise ConfigError(
                f"{place}: {setting} is not a row's to set: it is the same for all rows, or prag ablate chooses it"
            )
    methods = names_in(place, "methods", fields) or methods
    if not methods:
        raise ConfigError(f"{place}: no methods; name them in the row, or for all rows in the table")
    try:
        config = load(settings)
        _check(config, methods)
    except PragError as error:
        raise type(error)(f"{place}: {error}") from None
    row = Row(name=label or name, label=label, settings=settings_of(config, settings), config=config)
    yield from (make_run(method, row) for method in methods)


def _check(config: Config, methods: Sequence[str]) -> None:
    """Raise for methods that do not exist, or that the configuration's engine cannot run."""
    most_documents([find_method(name) for name in methods], config)
