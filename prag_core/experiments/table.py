"""The records of a table: rows of settings, the runs of methods under them, and which runs are compared.

A run is one method under one row's settings, named `method@label`, or `method` where the row has no label.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prag_core.config.dump import as_dict
from prag_core.config.full_names import flatten
from prag_core.config.schema import Config

Pair = tuple[str, str]  # (run, baseline), by name


@dataclass(frozen=True, kw_only=True)
class Row:
    """Settings that runs share: `settings` are those that the row changes, by full name, `config` is the result. `name` tells
    readers which row it is; its `label`, which may be "", is part of its runs' names."""

    name: str
    label: str
    settings: Mapping[str, Any]
    config: Config


@dataclass(frozen=True)
class Run:
    """One method under one row's settings. `name` is unique in its table."""

    name: str
    method: str
    row: Row

    @property
    def config(self) -> Config:
        return self.row.config


@dataclass(frozen=True, kw_only=True)
class Table:
    """Runs in the order in which they are shown. `config` has what holds for all of them, `pairs` says which are compared."""

    name: str
    title: str
    config: Config
    runs: tuple[Run, ...]
    pairs: tuple[Pair, ...]


def settings_of(config: Config, named: Mapping[str, Any]) -> dict[str, Any]:
    """Map the full name of every setting in `named`, which may be nested, to the value that a configuration has."""
    values = flatten(as_dict(config))
    return {name: values[name] for name in flatten(named) if name in values}


def make_run(method: str, row: Row) -> Run:
    """Name a method's run under a row."""
    return Run(f"{method}@{row.label}" if row.label else method, method, row)


def pair_with_baselines(names: Sequence[str], baselines: Sequence[str]) -> Iterator[Pair]:
    """Pair every run with each baseline, two baselines with each other once."""
    for number, baseline in enumerate(baselines):
        yield from ((name, baseline) for name in names if name not in baselines[: number + 1])


def pair_with_first_rows(runs: Sequence[Run]) -> Iterator[Pair]:
    """Pair every run with the first run of the same method."""
    first: dict[str, str] = {}
    for run in runs:
        if (baseline := first.setdefault(run.method, run.name)) != run.name:
            yield run.name, baseline
