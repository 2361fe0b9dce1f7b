"""The report on several runs' answers to the same questions: scores with intervals, groups of questions, paired comparisons.

`report.json` is relied on by other tools: `Report.to_json` says what it holds. Scores lie between 0 and 1; times are
milliseconds a question, each batch's time shared out evenly over its questions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from prag_core.config.dump import as_dict
from prag_core.config.schema import Config
from prag_core.evaluation.metrics import Score, extract_answer, score
from prag_core.evaluation.ranking import score_ranking
from prag_core.evaluation.statistics import holm, mean_interval, paired_p_value
from prag_core.records import Answer, Passage, Question
from prag_core.versions import installed_versions

Interval = tuple[float, float]


@dataclass(frozen=True)
class Prediction:
    """One run's answer to one question, scored. `method` is the run's name."""

    method: str
    question: Question
    asked: bool | None
    answer: Answer
    prediction: str
    score: Score

    def to_json(self) -> dict[str, Any]:
        """Return a line of `predictions.jsonl`: passages by document, chunk and score, without their text."""
        question, answer = self.question, self.answer
        return {
            "method": self.method,
            "question_id": question.question_id,
            "type": question.type,
            "asked": self.asked,
            "question": question.question,
            "answers": question.answers,
            "gold_doc_ids": question.gold_doc_ids,
            "text": answer.text,
            "prediction": self.prediction,
            **asdict(self.score),
            "passages": [{"doc_id": p.doc_id, "chunk": p.chunk, "score": p.score} for p in answer.passages],
            "adapters": answer.adapters,
            "degraded": answer.degraded,
            "timings_ms": dict(answer.timings_ms),
            "rounds": [{"query": r.query, "doc_ids": [p.doc_id for p in r.passages]} for r in answer.rounds],
            "num_tokens": answer.num_tokens,
            "route": answer.route,
        }


@dataclass(frozen=True)
class Group:
    """Means over the questions of one kind, with the 95 % interval of F1."""

    em: float
    f1: float
    f1_ci: Interval
    num_questions: int


@dataclass(frozen=True, kw_only=True)
class MethodResult:
    """Means over all questions, 95 % intervals, and the same by question type and by whether the fact was asked."""

    em: float
    f1: float
    precision: float
    recall: float
    em_ci: Interval
    f1_ci: Interval
    ms_per_question: float
    timings_ms: dict[str, float]
    by_type: dict[str, Group]
    by_asked: dict[str, Group]
    num_questions: int
    num_degraded: int  # questions for which a document had no usable adapter
    retrievals: float = 0.0  # a question
    tokens: float = 0.0  # generated for a question, drafts included
    routes: dict[str, int] = field(
        default_factory=dict
    )  # strategy → questions that took it, where a method chooses


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A method's F1 minus a baseline's over the same questions, with p of a paired permutation test, also after Holm."""

    method: str
    baseline: str
    f1_difference: float
    ci: Interval
    p: float
    p_holm: float


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The source of a run's answers, in a report on several configurations: its row, the row's settings, and the bank as it was.
    `seconds_per_document`: of one training worker, where that was measured."""

    row: str
    settings: dict[str, Any]
    cot: bool
    bank: str
    snapshot: str
    adapters: int
    quarantined: int
    seconds_per_document: float | None


@dataclass(frozen=True)
class Answered:
    """A run's answers, one a question. `cot`: they are read after their reasoning. `origin`: what the report tells of them."""

    answers: Sequence[Answer]
    cot: bool = False
    origin: Origin | None = None


@dataclass(frozen=True, kw_only=True)
class Report:
    """The result of one evaluation, by run. `predictions` are written beside the JSON, a line each. Runs with `origins` were made
    under their rows' settings, not all under those of `config`."""

    methods: dict[str, MethodResult]
    comparisons: list[Comparison]
    retrieval: dict[str, float]
    config: dict[str, Any]
    versions: dict[str, str]
    num_questions: int
    predictions: tuple[Prediction, ...]
    title: str = ""
    origins: dict[str, Origin] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; the title and the origins only if there are origins."""
        origins = {name: asdict(origin) for name, origin in self.origins.items()}
        return ({"title": self.title, "origins": origins} if origins else {}) | {
            "methods": {name: asdict(result) for name, result in self.methods.items()},
            "comparisons": [asdict(comparison) for comparison in self.comparisons],
            "retrieval": self.retrieval,
            "config": self.config,
            "versions": self.versions,
            "num_questions": self.num_questions,
        }


def build_report(
    questions: Sequence[Question],
    answered: Mapping[str, Answered],
    config: Config,
    *,
    asked: Mapping[str, bool] | None = None,
    retrieved: Sequence[Sequence[Passage]] | None = None,
    title: str = "",
    pairs: Sequence[tuple[str, str]] = (),
) -> Report:
    """Score runs by name: `answered[name].answers[i]` answers `questions[i]`. `asked` (by question id) splits the single-hop
    questions; `retrieved[i]` is what retrieval alone finds for `questions[i]`, deep enough for the ranking measures (10). `pairs`
    of (run, baseline) are compared."""
    asked = asked or {}
    predictions = {
        name: [
            _predict(name, question, asked.get(question.question_id), answer, run.cot)
            for question, answer in zip(questions, run.answers, strict=True)
        ]
        for name, run in answered.items()
    }
    depths = (config.retrieval.top_k, 3, 10)
    return Report(
        methods={name: _summarise(scored, config) for name, scored in predictions.items()},
        comparisons=_compare(predictions, pairs, config),
        retrieval={} if retrieved is None else score_ranking(questions, retrieved, depths),
        config=as_dict(config),
        versions=installed_versions(),
        num_questions=len(questions),
        predictions=tuple(prediction for scored in predictions.values() for prediction in scored),
        title=title,
        origins={name: run.origin for name, run in answered.items() if run.origin},
    )


def _predict(method: str, question: Question, asked: bool | None, answer: Answer, cot: bool) -> Prediction:
    prediction = extract_answer(answer.text, cot)
    return Prediction(method, question, asked, answer, prediction, score(prediction, question.answers))


def _summarise(scored: Sequence[Prediction], config: Config) -> MethodResult:
    everything = _group(scored, config)
    stages = dict.fromkeys(stage for item in scored for stage in item.answer.timings_ms)
    timings = {stage: _mean(item.answer.timings_ms.get(stage, 0.0) for item in scored) for stage in stages}
    return MethodResult(
        em=everything.em,
        f1=everything.f1,
        precision=_mean(item.score.precision for item in scored),
        recall=_mean(item.score.recall for item in scored),
        em_ci=_interval([item.score.em for item in scored], config),
        f1_ci=everything.f1_ci,
        ms_per_question=sum(timings.values()),
        timings_ms=timings,
        by_type=_groups(scored, [item.question.type for item in scored], config),
        by_asked=dict(sorted(_groups(scored, [_asked_name(item.asked) for item in scored], config).items())),
        num_questions=len(scored),
        num_degraded=sum(bool(item.answer.degraded) for item in scored),
        retrievals=_mean(len(item.answer.rounds) for item in scored),
        tokens=_mean(item.answer.num_tokens for item in scored),
        routes=dict(Counter(item.answer.route for item in scored if item.answer.route).most_common()),
    )


def _groups(scored: Sequence[Prediction], names: Sequence[str], config: Config) -> dict[str, Group]:
    """Make a group for each name except "", in order of first appearance."""
    members: dict[str, list[Prediction]] = {}
    for item, name in zip(scored, names, strict=True):
        members.setdefault(name, []).append(item)
    return {name: _group(items, config) for name, items in members.items() if name}


def _group(scored: Sequence[Prediction], config: Config) -> Group:
    f1 = [item.score.f1 for item in scored]
    return Group(_mean(item.score.em for item in scored), _mean(f1), _interval(f1, config), len(scored))


def _asked_name(asked: bool | None) -> str:
    return {True: "asked", False: "unasked", None: ""}[asked]


def _compare(
    predictions: Mapping[str, Sequence[Prediction]], pairs: Sequence[tuple[str, str]], config: Config
) -> list[Comparison]:
    f1 = {name: np.array([item.score.f1 for item in scored]) for name, scored in predictions.items()}
    settings = config.evaluate
    p_values = [
        paired_p_value(f1[name], f1[baseline], num_resamples=settings.num_resamples, seed=settings.seed)
        for name, baseline in pairs
    ]
    return [
        Comparison(
            method=name,
            baseline=baseline,
            f1_difference=_mean(f1[name] - f1[baseline]),
            ci=_interval(f1[name] - f1[baseline], config),
            p=p,
            p_holm=p_holm,
        )
        for (name, baseline), p, p_holm in zip(pairs, p_values, holm(p_values), strict=True)
    ]


def _interval(values: Sequence[float] | np.ndarray, config: Config) -> Interval:
    return mean_interval(values, num_resamples=config.evaluate.num_resamples, seed=config.evaluate.seed)


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
