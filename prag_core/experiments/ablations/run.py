"""A table's runs: which are answered already, the engines for those that are not, and the report of all.

An engine is started once for all runs that it can answer: of one base model under one set of engine settings, adapters of the
same modules, and (on vLLM) slots of one size, so that no method's time is that of another's larger adapters. Each run's answers
are kept as soon as they are given. An engine is warm before the first run that is timed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from prag_core.answering.registry import find_method, most_documents
from prag_core.answering.tools import OpenBank, make_tools
from prag_core.config.schema import Config, EngineKind, as_dict
from prag_core.engines.load import make_engine
from prag_core.errors import BankError, ConfigError, PragError
from prag_core.evaluation.asked import find_asked_in
from prag_core.evaluation.report import Origin, Report, build_report
from prag_core.evaluation.run import RANKING_DEPTH, Tick, answer_all
from prag_core.experiments.ablations.answers import AnswerStore, answering_fields, question_digest
from prag_core.experiments.ablations.banks import BankNames, MadeBank, NamedBank, find_made
from prag_core.experiments.ablations.table import Run, Table
from prag_core.identity import digest
from prag_core.merging import merged_rank
from prag_core.models.lora import AdapterLayout
from prag_core.questions.reader import load_questions
from prag_core.records import Answer, Question
from prag_core.retrieval import build_index

WARMING = 2  # questions


@dataclass(frozen=True)
class PlannedRun:
    """A run, the bank that it needs, and all else that its answers depend on."""

    run: Run
    bank: NamedBank
    fields: Mapping[str, Any]
    questions: tuple[Question, ...]

    @property
    def identity(self) -> str:
        return digest([self.bank.uri, dict(self.fields)])


Opened = tuple[PlannedRun, OpenBank]


@dataclass(frozen=True)
class PlannedTable:
    table: Table
    questions: tuple[Question, ...]
    runs: tuple[PlannedRun, ...]

    @cached_property
    def banks(self) -> tuple[NamedBank, ...]:
        """Each bank once, in the order of the rows that need it first."""
        return tuple({planned.bank.uri: planned.bank for planned in self.runs}.values())


def plan_table(table: Table, names: BankNames) -> PlannedTable:
    """Name the banks and answers of a table. Raises ConfigError where two rows are the same thing under two labels, and what
    naming a row's bank raises, with the row's label."""
    asking = table.config.evaluate
    questions = tuple(load_questions(asking.questions, asking.limit, type=asking.type, format=asking.format))
    asked = question_digest(questions)
    runs, first = [], dict[str, str]()
    for run in table.runs:
        try:
            bank = names.name(run.config)
        except PragError as error:
            raise type(error)(f"{table.name}, {run.label}: {error}") from None
        planned = PlannedRun(run, bank, answering_fields(run.config, run.method, asked), questions)
        if (other := first.setdefault(planned.identity, run.label)) != run.label:
            raise ConfigError(
                f"{table.name}: {run.label} is the same as {other}: what its row sets changes nothing that matters"
            )
        runs.append(planned)
    return PlannedTable(table, questions, tuple(runs))


def find_answers(planned: PlannedRun, store: AnswerStore) -> list[Answer] | None:
    """A run's answers, if its bank is there and they were given before."""
    made = find_made(planned.bank.uri)
    return store.find(made.snapshot, planned.fields) if made else None


def answer_runs(runs: Sequence[PlannedRun], store: AnswerStore, tick: Tick = lambda *_: None) -> None:
    """Answer and keep. Every bank must have been made. Raises what engines and banks raise."""
    banks: dict[str, OpenBank] = {}
    for planned in runs:
        if (view := _view(planned)) not in banks:
            banks[view] = _open(planned)
    for group in _by_engine([(planned, banks[_view(planned)]) for planned in runs]):
        widest = max((bank.bank.layout for _, bank in group), key=lambda layout: layout.rank)
        max_rank = max(_rank(planned, bank) for planned, bank in group)
        config = group[0][0].run.config
        with closing(
            make_engine(config.engine, config.model, layout=widest, max_merged_rank=max_rank)
        ) as engine:
            for number, (planned, bank) in enumerate(group):
                method, tools = find_method(planned.run.method), make_tools(planned.run.config, bank, engine)
                if number == 0:
                    method.answer(planned.questions[:WARMING], tools)
                answers = answer_all(planned.run.label, method, planned.questions, tools, tick)
                store.put(bank.snapshot, planned.fields, answers)


def _by_engine(runs: Sequence[Opened]) -> Iterator[list[Opened]]:
    """Runs that share an engine. Those on transformers come first: vLLM leaves its threads' settings to the process."""
    groups: defaultdict[tuple[bool, str], list[Opened]] = defaultdict(list)
    for planned, bank in runs:
        config = planned.run.config
        needs = engine_identity(config, bank.bank.layout, _rank(planned, bank))
        groups[config.engine.kind is EngineKind.vllm, needs].append((planned, bank))
    yield from (groups[key] for key in sorted(groups, key=lambda key: key[0]))


def engine_identity(config: Config, layout: AdapterLayout, rank: int) -> str:
    """The engine that runs over merged adapters of this layout and rank need: runs of one identity can share it."""
    engine = as_dict(replace(config.engine, max_new_tokens=None))
    slots = _slots(rank) if config.engine.kind is EngineKind.vllm else 0
    return digest([engine, as_dict(config.model), [module.name for module in layout.modules], slots])


def _rank(planned: PlannedRun, bank: OpenBank) -> int:
    """Of the largest merge that the run makes of the bank's adapters."""
    config = planned.run.config
    documents = most_documents([find_method(planned.run.method)], config)
    return merged_rank(bank.bank.layout.rank, documents, config.merge, warm=bank.start is not None)


def _slots(rank: int) -> int:
    from prag_core.engines.vllm import slot_rank

    return slot_rank(rank)


def _view(planned: PlannedRun) -> str:
    """A bank as a run sees it: by which index, with which seed."""
    config = planned.bank.config
    return digest([planned.bank.uri, as_dict(replace(config.retrieval, top_k=1)), config.evaluate.seed])


def _open(planned: PlannedRun) -> OpenBank:
    made, config = find_made(planned.bank.uri), planned.bank.config
    if made is None:
        raise BankError(
            f"{planned.bank.uri}: the bank of {planned.run.label} is not there, or its run did not end well"
        )
    build_index(made.bank, made.snapshot, config.retrieval)
    return OpenBank.open(made.bank.uri, config)


def report_table(planned: PlannedTable, store: AnswerStore) -> Report:
    """The report of a table whose runs are all answered. Questions are told apart by whether a pair asked them, and
    retrieval is scored, where that is the same for all rows."""
    banks = {bank.uri: find_made(bank.uri) for bank in planned.banks}
    answers, origins = {}, {}
    for one in planned.runs:
        made = banks[one.bank.uri]
        found = store.find(made.snapshot, one.fields) if made else None
        if made is None or found is None:
            raise BankError(f"{planned.table.name}: {one.run.label} has no answers")
        answers[one.run.label] = found
        origins[one.run.label] = _origin(one, made, found)
    first = planned.runs[0]
    same_asked = _agreed(find_asked_in(made.snapshot, planned.questions) for made in banks.values() if made)
    retrieved = None
    if _agreed(_retrieval(one) for one in planned.runs):
        depth = max(RANKING_DEPTH, planned.table.config.retrieval.top_k)
        retrieved = _open(first).search([question.question for question in planned.questions], depth)
    return build_report(
        planned.questions,
        answers,
        planned.table.config,
        asked=same_asked,
        retrieved=retrieved,
        title=planned.table.title,
        origins=origins,
        pairs=planned.table.pairs,
    )


def _origin(planned: PlannedRun, made: MadeBank, answers: Iterable[Answer]) -> Origin:
    run, counts = planned.run, made.snapshot.counts
    parametric = any(answer.adapters for answer in answers)
    return Origin(
        row=run.row,
        settings=dict(run.settings),
        cot=bool(made.bank.recipe.fields["prompt"]["cot"]),
        bank=made.bank.uri,
        snapshot=made.snapshot.name,
        adapters=counts["adapter"],
        quarantined=counts["failed"],
        seconds_per_document=made.figures.seconds_per_document if parametric else None,
    )


def _retrieval(planned: PlannedRun) -> dict[str, Any]:
    """What decides which documents are found, but for how many of them."""
    config = planned.run.config
    return {"corpus": as_dict(config.corpus), "retrieval": as_dict(replace(config.retrieval, top_k=1))}


def _agreed(values: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    """The value that all have, or None."""
    first, *others = values
    return first if all(other == first for other in others) else None
