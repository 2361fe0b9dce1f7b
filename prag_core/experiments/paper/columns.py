"""The runs of a published table: for each model and each column, one question set under the settings of every row.

Settings, later wins: those of all tables (setup.yaml), the question set's wording (conf/prompt) and settings, the model's, the
table's, the command line's, the row's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from prag_core.answering.registry import find_method, most_documents
from prag_core.config.load import CONF, Override, load_config
from prag_core.config.schema import Config, CorpusFormat
from prag_core.errors import ConfigError
from prag_core.experiments.paper.description import Column, Dataset, Model, PaperRow, PaperTable, Setup
from prag_core.experiments.table import Row, Run, Table, settings_of
from prag_core.questions.reader import load_questions
from prag_core.records import Question
from prag_core.storage import open_root, storage_errors


@dataclass(frozen=True)
class Reproduction:
    """The part of a table to reproduce: its models and question sets, and the settings of the command line."""

    table: PaperTable
    setup: Setup
    models: tuple[Model, ...]
    datasets: tuple[Dataset, ...]
    overrides: tuple[Override, ...] = ()

    def config(
        self, dataset: Dataset, model: Model | None = None, row: PaperRow | None = None, **more: Any
    ) -> Config:
        """Resolve the settings of a model's row over a question set; without model or row, those that all share. `more` wins."""
        settings: list[Override] = [
            self.setup.settings,
            {"evaluate.questions": f"${{paper.data}}/{dataset.questions}"},
        ]
        settings += [dataset.settings]
        settings += [model.settings, model.datasets.get(dataset.name, {})] if model else []
        settings += [self.table.settings, *self.overrides, row.settings if row else {}, more]
        return load_config(settings, str(CONF / "prompt" / f"{dataset.name}.yaml"))


def choose(
    table: PaperTable,
    setup: Setup,
    models: Sequence[str],
    datasets: Sequence[str],
    overrides: Sequence[Override],
) -> Reproduction:
    """Choose models (default: all that the table has numbers of) and question sets (default: all of its columns). Raises
    ConfigError for names that the table does not have, and for one file given for several question sets."""
    wanted_models, wanted_sets = models or [*table.published], datasets or table.datasets
    for name in wanted_models:
        if name not in setup.models:
            raise ConfigError(f"--model {name}: no such model; known: {', '.join(setup.models)}")
    for name in wanted_sets:
        if name not in table.datasets:
            raise ConfigError(f"--dataset {name}: {table.name} has {', '.join(table.datasets)}")
    if len(wanted_sets) > 1 and any(str(item).startswith("evaluate.questions=") for item in overrides):
        several = f"there are {len(wanted_sets)} question sets"
        raise ConfigError(f"evaluate.questions is one file, but {several}; choose one with --dataset")
    return Reproduction(
        table,
        setup,
        tuple(setup.models[name] for name in wanted_models),
        tuple(setup.datasets[name] for name in wanted_sets),
        tuple(overrides),
    )


def check_data(made: Reproduction) -> None:
    """Raise one ConfigError for all missing files, each with its source and the setting that names it."""
    missing = {}
    for dataset in made.datasets:
        config = made.config(dataset)
        if not _is_there(config.evaluate.questions):
            other = f"or evaluate.questions=FILE --dataset {dataset.name}"
            missing[config.evaluate.questions] = f"{dataset.title}: {dataset.source}; {other}"
        if not _is_there(config.corpus.uri):
            missing[config.corpus.uri] = f"the corpus: {made.setup.corpus_source}; or corpus.uri=…"
    if missing:
        lines = "\n".join(f"  {uri}\n    {where}" for uri, where in missing.items())
        raise ConfigError(
            f"{len(missing)} files are not there; put them there, or say where with paper.data=FOLDER:\n{lines}"
        )


def _is_there(uri: str) -> bool:
    fs, path = open_root(uri)
    with storage_errors("looking for", uri):
        return bool(fs.exists(path)) or bool(set("*?[") & set(path) and fs.glob(path))


def column_questions(made: Reproduction, dataset: Dataset) -> dict[str, list[Question]]:
    """Load the questions of every column that any table has of a question set, so that tables share corpora and banks."""
    asked = made.config(dataset).evaluate
    return {
        column: load_questions(asked.questions, asked.limit, type=type, format=asked.format)
        for column, type in dataset.types.items()
    }


def column_tables(
    made: Reproduction, corpora: Mapping[str, str], warm: Mapping[tuple[str, str], str]
) -> Iterator[tuple[str, Column, Table]]:
    """Yield (model, column, table of its runs). `corpora`: of each question set; `warm`: each model's and question set's initial
    adapter, without which the rows that want one are left out. Raises ConfigError for settings and methods that cannot be run."""
    sets = {dataset.name: dataset for dataset in made.datasets}
    for model in made.models:
        for column in made.table.columns:
            if dataset := sets.get(column[0]):
                corpus, initial = corpora[dataset.name], warm.get((model.name, dataset.name))
                yield model.name, column, _table(made, model, dataset, column, corpus, initial)


def _table(
    made: Reproduction, model: Model, dataset: Dataset, column: Column, corpus: str, initial: str | None
) -> Table:
    def load(row: PaperRow | None) -> Config:
        warm = {"training.initial": initial} if row and row.warm else {}
        config = made.config(dataset, model, row, **warm)
        asked = replace(config.evaluate, type=dataset.types[column[1]])
        narrowed = replace(config.corpus, uri=corpus, format=CorpusFormat.jsonl, limit=None)
        return replace(config, corpus=narrowed, evaluate=asked)

    runs = []
    for row in made.table.rows:
        if made.table.answered_by(row) is not row or (row.warm and initial is None):
            continue
        config = load(row)
        most_documents([find_method(row.method)], config)
        changed = settings_of(config, row.settings)
        own = Row(name=row.label, label=row.label, settings=changed, config=config)
        runs.append(Run(row.label, row.method, own))
    name = f"{made.table.name}-{model.name}-{column[0]}-{column[1].lower()}"
    title = f"{model.title}, {dataset.title}, {column[1]}"
    return Table(name=name, title=title, config=load(None), runs=tuple(runs), pairs=())
