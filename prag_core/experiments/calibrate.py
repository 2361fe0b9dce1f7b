"""Calibration: thresholds of methods that decide when to retrieve, chosen on questions that nothing is measured on.

The values that are tried come from the method itself: it answers once without ever acting, what its threshold would have been
compared with is noted, and quantiles of that are tried, so that each value acts on another share of the questions. The
value that is set (null: as published) is tried too. A method's thresholds are chosen one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from omegaconf import OmegaConf

from prag_core.answering.base import Method, Tools
from prag_core.answering.registry import METHODS, find_method, most_documents
from prag_core.answering.tools import open_tools
from prag_core.config.schema import CalibrateConfig, Config, MethodsConfig
from prag_core.errors import ConfigError
from prag_core.evaluation.costs import HEADER, Summary, summarise
from prag_core.evaluation.tables import TextTable
from prag_core.experiments.answering import Progress, answer_all
from prag_core.questions.reader import load_unseen
from prag_core.records import Question
from prag_core.storage import open_root, put_whole, storage_errors

DIGITS = 3  # significant ones of a value: closer than the questions can tell


@dataclass(frozen=True)
class Calibration:
    """The results of one threshold's values, the value that was set first. `chosen` is the place of the one to take."""

    method: str
    threshold: str
    num_questions: int
    values: tuple[float | None, ...]
    rows: tuple[Summary, ...]
    chosen: int

    @property
    def value(self) -> float | None:
        return self.values[self.chosen]


def calibrate(config: Config, progress: Progress = lambda *_: None) -> Iterator[Calibration]:
    """Choose the thresholds of `calibrate.methods`, yielding each as soon as it is chosen. Raises ConfigError, before any
    model is loaded, for a method without thresholds, for two that share one, and for questions that are among
    evaluate.questions."""
    settings = config.calibrate
    methods = find_calibrated(settings.methods)
    questions = load_unseen(settings.questions, settings.limit, "calibrate.questions", config.evaluate)
    documents = most_documents(methods, config)
    with open_tools(config, {"": config.bank.uri}, documents=documents) as opened:
        for method in methods:
            tools = opened[""]
            tried = method.cached()
            for threshold in method.thresholds:
                calibration = _calibrate(tried, threshold, questions, tools, settings, progress)
                tools = set_threshold(tools, threshold, calibration.value)
                yield calibration


def find_calibrated(names: Sequence[str]) -> list[Method]:
    """Find methods that have thresholds. Raises ConfigError as `calibrate` says."""
    owners: dict[str, str] = {}
    methods: list[Method] = []
    for name in names:
        method = find_method(name)
        if not method.thresholds:
            able = ", ".join(known for known, one in METHODS.items() if one.thresholds)
            raise ConfigError(f"calibrate.methods: {name} has no threshold; these have: {able}")
        for threshold in method.thresholds:
            if (first := owners.setdefault(threshold, name)) != name:
                raise ConfigError(
                    f"calibrate.methods: {first} and {name} share methods.{threshold}; calibrate one at a time, "
                    "each into its own calibrate.out"
                )
        methods.append(method)
    if not methods:
        raise ConfigError("calibrate.methods is empty; name at least one method")
    return methods


def _calibrate(
    method: Method,
    threshold: str,
    questions: Sequence[Question],
    tools: Tools,
    settings: CalibrateConfig,
    progress: Progress,
) -> Calibration:
    present: float | None = getattr(tools.methods, threshold)
    values = (present, *grid(method.observe(threshold, questions, tools), settings.values, present))
    rows = []
    for value in values:
        label = f"{method.name} {threshold}={name_of(value)}"
        answers = answer_all(label, method, questions, set_threshold(tools, threshold, value), progress)
        rows.append(summarise(name_of(value), questions, answers, tools.prompt.cot))
    return Calibration(
        method.name, threshold, len(questions), values, tuple(rows), choose(rows, settings.tolerance)
    )


def grid(observed: Sequence[float], count: int, present: float | None) -> list[float]:
    """Return `count` quantiles of what was observed, evenly spaced and off the ends, rounded, distinct and without `present`."""
    if not observed:
        return []
    quantiles = np.quantile(observed, (np.arange(count) + 0.5) / count)
    rounded = {float(f"{value:.{DIGITS}g}") for value in quantiles}
    return sorted(value for value in rounded if value > 0 and value != present)


def choose(rows: Sequence[Summary], tolerance: float) -> int:
    """Return the place of the row with fewest retrievals, then fewest tokens, then the first, among those whose F1 is within
    `tolerance` of the best."""
    best = max(row.f1 for row in rows)
    near = [place for place, row in enumerate(rows) if row.f1 >= best - tolerance - 1e-12]
    return min(near, key=lambda place: (rows[place].retrievals, rows[place].tokens))


def set_threshold(tools: Tools, threshold: str, value: float | None) -> Tools:
    methods: MethodsConfig = replace(tools.methods, **{threshold: value})  # type: ignore[arg-type]
    return replace(tools, methods=methods)


def name_of(value: float | None) -> str:
    return "null" if value is None else f"{value:g}"


def as_text_table(calibration: Calibration, tolerance: float) -> TextTable:
    rows = tuple(
        (row.name + " *" * (place == calibration.chosen), *row.cells())
        for place, row in enumerate(calibration.rows)
    )
    note = f"*: chosen, the fewest retrievals within {100 * tolerance:g} points of the best F1. First: the value that was set."
    tried = [value for value in calibration.values if value is not None]
    if tried and calibration.value in (min(tried), max(tried)):
        note += " The one chosen is at an end of what was tried."
    title = f"{calibration.method}: methods.{calibration.threshold}, {calibration.num_questions} questions"
    return TextTable(title, ("value", *HEADER), rows, note)


def as_settings(calibrations: Sequence[Calibration], questions: str) -> str:
    """Format the chosen values as a file for --config, with their source."""
    chosen = {calibration.threshold: calibration.value for calibration in calibrations}
    methods = ", ".join(dict.fromkeys(calibration.method for calibration in calibrations))
    header = f"# Thresholds of {methods}, chosen by prag calibrate on {questions}; null: as published\n"
    return header + OmegaConf.to_yaml(OmegaConf.create({"methods": chosen}))


def write_settings(text: str, out: str) -> None:
    """Write the file whole, replacing an earlier one. Raises StorageError."""
    fs, path = open_root(out)
    with storage_errors("writing the thresholds to", out):
        put_whole(fs, path, text.encode())
