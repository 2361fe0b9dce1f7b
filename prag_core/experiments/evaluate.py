"""`prag evaluate`: a table with one row for the bank of `bank.uri`, and a labelled row for each bank of `evaluate.banks`.

`evaluate.methods` lists the runs: `prag` is `prag` over `bank.uri`; `prag@label` runs it under the row `label`, whose only
setting is its `bank.uri`. Answers are given over what retrieval finds; only methods named `…_gold` use the labelled documents.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from prag_core.answering.registry import find_method, most_documents
from prag_core.answering.tools import OpenBank
from prag_core.config.schema import Config
from prag_core.errors import ConfigError
from prag_core.evaluation.report import Report
from prag_core.experiments.answering import OpenRun, Progress, answer_runs
from prag_core.experiments.report import RunResult, report_table
from prag_core.experiments.table import Row, Run, Table, make_run, pair_with_baselines
from prag_core.planning.recipe import recorded_prompt
from prag_core.questions.gold import gold_note
from prag_core.questions.reader import load_questions
from prag_core.records import Answer


def evaluate(
    config: Config, progress: Progress = lambda *_: None, warn: Callable[[str], None] = lambda _: None
) -> Report:
    """Answer every question in every run and score it. Calls `warn` with what a user should know of the questions.

    Raises ConfigError for methods that the engine cannot run before any model is loaded.
    """
    table = evaluation_table(config)
    asked = config.evaluate
    questions = load_questions(asked.questions, asked.limit, type=asked.type, format=asked.format)
    rows = {run.row.label: run.row for run in table.runs}
    banks = {label: OpenBank.open(row.config.bank.uri, row.config) for label, row in rows.items()}
    first = next(iter(banks.values()))
    gold = {doc_id for question in questions for doc_id in question.gold_doc_ids}
    if note := gold_note(questions, {doc_id for doc_id, _ in first.snapshot.keys_of(gold)}, first.bank.uri):
        warn(note)
    answers: dict[str, list[Answer]] = {}
    answer_runs(
        [OpenRun(run.name, run, banks[run.row.label], questions) for run in table.runs],
        answers.__setitem__,
        progress,
    )
    results = [RunResult(run, banks[run.row.label].snapshot, answers[run.name]) for run in table.runs]
    prompt = recorded_prompt(first.bank.recipe, config.prompt)
    table = replace(table, config=replace(config, prompt=prompt))
    return report_table(table, questions, results, lambda: first)


def evaluation_table(config: Config) -> Table:
    """Make the table that `evaluate.methods` and `evaluate.banks` describe. Raises ConfigError where there is no method, and for
    methods that the engine cannot run."""
    settings = config.evaluate
    rows = {"": Row(name="bank.uri", label="", settings={}, config=config)}
    for label, uri in settings.banks.items():
        own = replace(config, bank=replace(config.bank, uri=uri))
        rows[label] = Row(name=label, label=label, settings={"bank.uri": uri}, config=own)
    runs = [_parse_run(name, rows) for name in dict.fromkeys(settings.methods)]
    if not runs:
        raise ConfigError("evaluate.methods is empty; name at least one method")
    most_documents([find_method(run.method) for run in runs], config)
    names = [run.name for run in runs]
    pairs = pair_with_baselines(names, [name for name in settings.baselines if name in names])
    return Table(name="evaluate", title="", config=config, runs=tuple(runs), pairs=tuple(pairs))


def _parse_run(name: str, rows: Mapping[str, Row]) -> Run:
    method, _, label = name.partition("@")
    return make_run(method, rows[label])
