"""Training a router: answer questions by every strategy, label them, choose features and regularisation, fit, measure.

It is measured on questions held out from all but the labelling, from the very answers that the labels come from: no question
is answered twice by one strategy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from prag_core.answering.adaptive.adaptive_rag import AdaptiveRag, answer_by
from prag_core.answering.adaptive.features import Features, describe
from prag_core.answering.adaptive.router import Router, router_file
from prag_core.answering.cached import CachedMethod
from prag_core.answering.registry import METHODS, Method, Tools, find_method, most_documents
from prag_core.answering.tools import OpenBank, open_tools
from prag_core.config.schema import Config, RouterConfig
from prag_core.errors import ConfigError
from prag_core.evaluation.costs import summarise
from prag_core.evaluation.metrics import extract_answer, score
from prag_core.experiments.answering import Progress, answer_all
from prag_core.experiments.router_training.fit import STRENGTHS, Candidate, cross_validate, fit, hold_out
from prag_core.experiments.router_training.labels import Label, label_of
from prag_core.experiments.router_training.report import RouterReport
from prag_core.questions.reader import load_unseen
from prag_core.records import Answer, Question

MIN_QUESTIONS = 20


@dataclass(frozen=True)
class Case:
    """A question with its label, its features without and with what it retrieves, and every strategy's answer."""

    question: Question
    label: Label
    bare: Features
    full: Features
    answers: Mapping[str, Answer]

    def features(self, retrieves: bool) -> Features:
        return self.full if retrieves else self.bare


def train_router(
    config: Config, name: str, progress: Progress = lambda *_: None
) -> tuple[Router, RouterReport]:
    """Train a router for the method `name` over the bank and report on it. Raises ConfigError for a method without routes, for
    questions that are too few, of one label only, or among evaluate.questions; most of it before any model is loaded."""
    router_file(config.methods.router, name)
    strategies = strategies_for(name, config.router)
    settings = config.router
    questions = load_unseen(settings.questions, settings.limit, "router.questions", config.evaluate)
    if len(questions) < MIN_QUESTIONS:
        raise ConfigError(
            f"router.questions={settings.questions}: {len(questions)} questions; give at least {MIN_QUESTIONS}"
        )
    documents = most_documents(strategies.values(), config)
    with open_tools(config, {"": config.bank.uri}, documents=documents) as opened:
        tools = opened[""]
        source = tools.source
        assert isinstance(source, OpenBank)
        cached = {label: CachedMethod.of(method) for label, method in strategies.items()}
        answers = {
            label: answer_all(label, method, questions, tools, progress) for label, method in cached.items()
        }
        trained_on = {
            "questions": settings.questions,
            "bank": config.bank.uri,
            "snapshot": source.snapshot.name,
            "model": config.model.path,
            "top_k": tools.top_k,
            "merge": config.merge.rule,
            "cot": tools.prompt.cot,
            "max_new_tokens": tools.max_new_tokens,
        }
        training, held = split(_label(questions, answers, strategies, tools, settings), settings)
        router, candidates = _fit(training, tuple(strategies), tools.recipe_id, settings)
        routed = answer_by(router, [case.question for case in held], tools, cached)
        report = _report(router, training, held, routed, candidates, len(questions), tools.prompt.cot)
    return replace(router, trained_on=trained_on, report=report.to_json()), report


def strategies_for(name: str, settings: RouterConfig) -> dict[str, Method]:
    """Return the strategies of a router for `name`, cheapest first. Raises ConfigError."""
    method = find_method(name)
    if not isinstance(method, AdaptiveRag):
        adaptive = [known for known, one in METHODS.items() if one.kind == "adaptive"]
        raise ConfigError(f"--method {name}: it has no router to train; one of {', '.join(adaptive)} has")
    chosen = settings.strategies or list(method.default)
    if len(chosen) < 2 or len(set(chosen)) < len(chosen):
        raise ConfigError(
            f"router.strategies={chosen}: expected at least two different methods, cheapest first"
        )
    strategies = {strategy: find_method(strategy) for strategy in chosen}
    if unfit := [
        strategy for strategy in chosen if strategy not in method.methods or strategy.endswith("_gold")
    ]:
        raise ConfigError(
            f"router.strategies: {unfit[0]} cannot be one; expected methods that answer without labels or a router"
        )
    return strategies


def _label(
    questions: Sequence[Question],
    answers: Mapping[str, Sequence[Answer]],
    strategies: Mapping[str, Method],
    tools: Tools,
    settings: RouterConfig,
) -> list[Case]:
    """Make cases of the questions that get a label. An answer is right if it matches exactly after normalisation."""
    iterative = [method.kind == "iterative" for method in strategies.values()]
    found = tools.source.search([question.question for question in questions], tools.top_k)
    cases = []
    for i, (question, passages) in enumerate(zip(questions, found, strict=True)):
        given = {name: answers[name][i] for name in strategies}
        right = [
            score(extract_answer(one.text, tools.prompt.cot), question.answers).em == 1
            for one in given.values()
        ]
        label = label_of(question, right, iterative, settings.single_hop_types)
        if label is not None:
            cases.append(
                Case(
                    question, label, describe(question.question), describe(question.question, passages), given
                )
            )
    return cases


def split(cases: Sequence[Case], settings: RouterConfig) -> tuple[list[Case], list[Case]]:
    """Split cases into those to train on and those held out. Raises ConfigError if there is nothing to learn."""
    if len(labels := {case.label.strategy for case in cases}) == 1:
        only = list(cases[0].answers)[labels.pop()]
        raise ConfigError(
            f"router.questions: every one is for {only}; there is nothing to route: use {only} itself"
        )
    rest, held = hold_out(_classes(cases), settings.held_out, settings.seed)
    if len(rest) < MIN_QUESTIONS or not held:
        raise ConfigError(
            f"router.held_out={settings.held_out}: of {len(cases)} labelled questions it leaves {len(rest)} to train on and "
            f"{len(held)} to measure on; expected at least {MIN_QUESTIONS} and 1"
        )
    return [cases[i] for i in rest], [cases[i] for i in held]


def _fit(
    training: Sequence[Case], strategies: tuple[str, ...], recipe_id: str, settings: RouterConfig
) -> tuple[Router, list[Candidate]]:
    """Fit the router of the candidate that cross-validates best; return it with all candidates."""
    looks = [False, True] if settings.retrieval_features is None else [settings.retrieval_features]
    classes = _classes(training)
    described = {retrieves: [case.features(retrieves) for case in training] for retrieves in looks}
    candidates = [
        cross_validate(
            described[retrieves],
            classes,
            len(strategies),
            retrieves=retrieves,
            strength=strength,
            folds=settings.folds,
            seed=settings.seed,
        )
        for retrieves in looks
        for strength in STRENGTHS
    ]
    best = min(candidates, key=lambda candidate: candidate.log_loss)
    linear = fit(described[best.retrieves], classes, len(strategies), best.strength)
    return Router(strategies, linear, best.retrieves, recipe_id), candidates


def _report(
    router: Router,
    training: Sequence[Case],
    held: Sequence[Case],
    routed: Sequence[Answer],
    candidates: Sequence[Candidate],
    num_questions: int,
    cot: bool,
) -> RouterReport:
    strategies = router.strategies
    ways = {name: [case.answers[name] for case in held] for name in strategies}
    ways["the router"] = list(routed)
    ways["labels"] = [case.answers[strategies[case.label.strategy]] for case in held]
    confusion = [[0] * len(strategies) for _ in strategies]
    for case, answer in zip(held, routed, strict=True):
        confusion[case.label.strategy][strategies.index(answer.route)] += 1
    labels = Counter(case.label for case in (*training, *held))
    return RouterReport(
        strategies=strategies,
        num_questions=num_questions,
        num_training=len(training),
        candidates=tuple(candidates),
        retrieves=router.retrieves,
        right=[labels[Label(place, presumed=False)] for place in range(len(strategies))],
        presumed=[labels[Label(place, presumed=True)] for place in range(len(strategies))],
        commonest=Counter(_classes(training)).most_common(1)[0][1] / len(training),
        confusion=confusion,
        rows=[summarise(name, [case.question for case in held], given, cot) for name, given in ways.items()],
    )


def _classes(cases: Sequence[Case]) -> list[int]:
    return [case.label.strategy for case in cases]
