"""Answering the runs of tables: the one loop over engines, runs and batches of questions.

An engine is started once for all runs that it can answer: those of one base model and one set of engine settings, with adapters
of the same modules, and (on vLLM) of one slot size, so that no method's time includes another's larger adapters. An engine
answers a few questions before the first run that is timed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from prag_core.answering.registry import Method, Tools, find_method, most_documents
from prag_core.answering.tools import OpenBank, make_tools
from prag_core.config.dump import as_dict
from prag_core.config.schema import Config, EngineKind
from prag_core.engines.base import Engine
from prag_core.engines.load import make_engine
from prag_core.engines.vllm_arguments import slot_rank
from prag_core.experiments.table import Run
from prag_core.identity import digest
from prag_core.merging import merged_rank
from prag_core.models.lora import AdapterLayout
from prag_core.records import Answer, Question

BATCH = 128  # questions handed to a method at once
WARM_UP = 2  # questions
Progress = Callable[[str, int, int], None]  # (run, questions answered, of how many)


@dataclass(frozen=True)
class OpenRun:
    """A run with its bank opened and the questions to answer. `key` tells it from the other runs that are answered with it."""

    key: str
    run: Run
    bank: OpenBank
    questions: Sequence[Question]

    @property
    def max_rank(self) -> int:
        """The rank of the largest merge that the run makes of the bank's adapters."""
        config = self.run.config
        documents = most_documents([find_method(self.run.method)], config)
        return merged_rank(
            self.bank.bank.layout.rank, documents, config.merge, warm=self.bank.start is not None
        )


def answer_runs(
    runs: Sequence[OpenRun], keep: Callable[[str, list[Answer]], None], progress: Progress
) -> None:
    """Answer every run, calling `keep` with its key and its answers as soon as they are complete. Raises what engines and banks
    raise."""
    for group in group_by_engine(runs):
        with closing(start_engine(group)) as engine:
            for number, one in enumerate(group):
                method = find_method(one.run.method)
                tools = make_tools(one.run.config, one.bank, engine)
                if number == 0:
                    method.answer(one.questions[:WARM_UP], tools)
                keep(one.key, answer_all(one.run.name, method, one.questions, tools, progress))


def answer_all(
    name: str, method: Method, questions: Sequence[Question], tools: Tools, progress: Progress
) -> list[Answer]:
    """Answer all questions with `method` in batches, reporting progress under `name`."""
    answers: list[Answer] = []
    progress(name, 0, len(questions))
    for first in range(0, len(questions), BATCH):
        answers += method.answer(questions[first : first + BATCH], tools)
        progress(name, len(answers), len(questions))
    return answers


def start_engine(group: Sequence[OpenRun]) -> Engine:
    """Start an engine that serves every run of a group."""
    widest = max((one.bank.bank.layout for one in group), key=lambda layout: layout.rank)
    config = group[0].run.config
    max_rank = max(one.max_rank for one in group)
    return make_engine(config.engine, config.model, layout=widest, max_merged_rank=max_rank)


def group_by_engine(runs: Sequence[OpenRun]) -> Iterator[list[OpenRun]]:
    """Group runs that can share an engine. Those on transformers come first: vLLM changes the process's thread settings."""
    groups: defaultdict[tuple[bool, str], list[OpenRun]] = defaultdict(list)
    for one in runs:
        config = one.run.config
        identity = engine_identity(config, one.bank.bank.layout, one.max_rank)
        groups[config.engine.kind is EngineKind.vllm, identity].append(one)
    yield from (groups[key] for key in sorted(groups, key=lambda key: key[0]))


def engine_identity(config: Config, layout: AdapterLayout, rank: int) -> str:
    """Identify the engine that runs over merged adapters of this layout and rank need; runs of one identity can share it."""
    engine = as_dict(replace(config.engine, max_new_tokens=None))
    slots = slot_rank(rank) if config.engine.kind is EngineKind.vllm else 0
    return digest([engine, as_dict(config.model), [module.name for module in layout.modules], slots])
