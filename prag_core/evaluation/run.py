"""Methods × questions → a report, always over what retrieval finds (a method named `…_gold` alone takes labelled documents).

A method is named `prag`, or `prag@name` to run it on the bank that `evaluate.banks.name` gives: banks of other recipes
over the same model stand in one table, answered by one engine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from prag_core.answering.registry import Method, Tools, find_method, most_documents
from prag_core.answering.tools import OpenBank, open_tools
from prag_core.config.schema import Config
from prag_core.errors import ConfigError
from prag_core.evaluation.asked import find_asked_in
from prag_core.evaluation.report import Report, build_report
from prag_core.questions.gold import gold_note
from prag_core.questions.reader import load_questions
from prag_core.records import Answer, Question

BATCH = 128  # questions handed to a method at once
RANKING_DEPTH = 10
Tick = Callable[[str, int, int], None]  # (method, questions answered, of how many)


def evaluate(
    config: Config, tick: Tick = lambda *_: None, warn: Callable[[str], None] = lambda _: None
) -> Report:
    """Answer every question by every method and score it. Calls `warn` with what a user should know of the questions.

    Raises ConfigError for unknown methods or banks before any model is loaded.
    """
    runs = {label: _parse_method(label, config) for label in config.evaluate.methods}
    if not runs:
        raise ConfigError("evaluate.methods is empty; name at least one method")
    settings = config.evaluate
    questions = load_questions(settings.questions, settings.limit, type=settings.type, format=settings.format)
    banks = {
        name: uri
        for name, uri in {"": config.bank.uri, **config.evaluate.banks}.items()
        if _is_used(name, runs)
    }
    documents = most_documents((method for method, _ in runs.values()), config)
    with open_tools(config, banks, documents=documents) as tools:
        source = tools[""].source
        assert isinstance(source, OpenBank)
        gold = {doc_id for question in questions for doc_id in question.gold_doc_ids}
        there = {doc_id for doc_id, _ in source.snapshot.keys_of(gold)}
        if note := gold_note(questions, there, config.bank.uri):
            warn(note)
        answers = {
            label: answer_all(label, method, questions, tools[bank], tick)
            for label, (method, bank) in runs.items()
        }
        config = replace(config, prompt=tools[""].prompt)
        retrieved = source.search(
            [question.question for question in questions], max(RANKING_DEPTH, config.retrieval.top_k)
        )
        asked = find_asked_in(source.snapshot, questions)
    return build_report(questions, answers, config, asked=asked, retrieved=retrieved)


def _parse_method(label: str, config: Config) -> tuple[Method, str]:
    name, _, bank = label.partition("@")
    if bank and bank not in config.evaluate.banks:
        raise ConfigError(
            f"evaluate.methods has {label}, but no evaluate.banks.{bank} says where that bank is"
        )
    return find_method(name), bank


def _is_used(bank: str, runs: dict[str, tuple[Method, str]]) -> bool:
    return bank == "" or any(bank == used for _, used in runs.values())


def answer_all(
    label: str, method: Method, questions: Sequence[Question], tools: Tools, tick: Tick
) -> list[Answer]:
    """Every question by one method, batch by batch, told as `label`."""
    answers: list[Answer] = []
    tick(label, 0, len(questions))
    for start in range(0, len(questions), BATCH):
        answers += method.answer(questions[start : start + BATCH], tools)
        tick(label, len(answers), len(questions))
    return answers
