"""Adaptive-RAG: a router sends each question to the cheapest strategy that is likely to answer it.

Source: Jeong et al., NAACL 2024; docs/methods.md. Strategies are methods; which ones is the router's
to say (`prag train-router`). The questions that take the same one are answered together, as a batch of that method. An answer's
`route` is the strategy it took; the rest of it is that strategy's. `methods.router_confidence` trades cost for safety.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from prag_core.answering.adaptive.features import describe
from prag_core.answering.adaptive.router import Router, load_router, router_file
from prag_core.answering.base import Kind, Method, Source, Stopwatch, Tools
from prag_core.answering.cached import CachedMethod
from prag_core.bank import Entry
from prag_core.config.schema import Config
from prag_core.errors import ConfigError
from prag_core.records import AdapterFactors, Answer, Augmentation, Key, Passage, Question, Round


@dataclass(frozen=True, kw_only=True)
class AdaptiveRag(Method):
    """A router over other methods: it is trained for the `default` strategies, cheapest first, unless told otherwise, and may
    choose from `methods`, by name."""

    kind: Kind = "adaptive"
    merges: bool = True  # a router may choose a strategy that merges, whatever the default ones do
    default: tuple[str, ...]
    methods: Mapping[str, Method]

    def most_documents(self, config: Config) -> int:
        router = self._load(config.methods.router)
        return max(self.methods[name].most_documents(config) for name in router.strategies)

    def answer(self, questions: Sequence[Question], tools: Tools) -> list[Answer]:
        router = self._load(tools.methods.router)
        self._check_bank(router, tools)
        return answer_by(router, questions, tools, self.methods)

    @property
    def thresholds(self) -> tuple[str, ...]:
        return ("router_confidence",)

    def observe(self, threshold: str, questions: Sequence[Question], tools: Tools) -> list[float]:
        """Return how likely each strategy but the most expensive one is to suffice, for each question."""
        router = self._load(tools.methods.router)
        self._check_bank(router, tools)
        found = look(router, questions, tools, Stopwatch())
        described = [
            describe(question.question, passages) for question, passages in zip(questions, found, strict=True)
        ]
        return router.enough(described)[:, :-1].ravel().tolist()

    def cached(self) -> AdaptiveRag:
        return replace(self, methods={name: CachedMethod.of(method) for name, method in self.methods.items()})

    def _load(self, folder: str | None) -> Router:
        router = load_router(folder, self.name)
        if unknown := [name for name in router.strategies if name not in self.methods]:
            where = router_file(folder, self.name)
            raise ConfigError(
                f"{where}: its strategy {unknown[0]!r} is no method (known: {', '.join(self.methods)})"
            )
        return router

    def _check_bank(self, router: Router, tools: Tools) -> None:
        if router.recipe_id != tools.recipe_id:
            where = router_file(tools.methods.router, self.name)
            raise ConfigError(
                f"{where}: trained over a bank of recipe {router.recipe_id[:12]}, this bank's is {tools.recipe_id[:12]}; "
                "train one for it with prag train-router, into another folder"
            )


def answer_by(
    router: Router, questions: Sequence[Question], tools: Tools, methods: Mapping[str, Method]
) -> list[Answer]:
    """Answer each question by the method that the router chooses, with one call for each method."""
    clock = Stopwatch()
    found = look(router, questions, tools, clock)
    with clock.stage("route"):
        described = [
            describe(question.question, passages) for question, passages in zip(questions, found, strict=True)
        ]
        routes = router.route(described, tools.methods.router_confidence)
    seen = Seen(
        tools.source,
        tools.top_k,
        {q.question: p for q, p in zip(questions, found, strict=True) if p is not None},
    )
    answers: dict[int, Answer] = {}
    for strategy in router.strategies:
        places = [i for i, route in enumerate(routes) if route == strategy]
        if places:
            given = methods[strategy].answer([questions[i] for i in places], replace(tools, source=seen))
            answers.update(zip(places, given, strict=True))
    spent = clock.per(len(questions))
    return [_routed(answers[i], routes[i], questions[i], found[i], spent) for i in range(len(questions))]


def look(
    router: Router, questions: Sequence[Question], tools: Tools, clock: Stopwatch
) -> Sequence[Sequence[Passage] | None]:
    """Retrieve for each question if the router looks at what it retrieves, else return None for each."""
    if not router.retrieves:
        return [None] * len(questions)
    with clock.stage("retrieve"):
        return tools.source.search([question.question for question in questions], tools.top_k)


def _routed(
    answer: Answer,
    route: str,
    question: Question,
    found: Sequence[Passage] | None,
    spent: Mapping[str, float],
) -> Answer:
    """The strategy's answer, with the router's share of the time, and its retrieval unless the strategy made the same."""
    timings = {
        stage: answer.timings_ms.get(stage, 0.0) + spent.get(stage, 0.0)
        for stage in {**spent, **answer.timings_ms}
    }
    rounds = answer.rounds
    if found is not None and not (rounds and rounds[0].query == question.question):
        rounds = (Round(question.question, tuple(found)), *rounds)
    return replace(answer, route=route, timings_ms=timings, rounds=rounds)


@dataclass(frozen=True)
class Seen:
    """A source that does not search again for what the router has just retrieved."""

    source: Source
    top_k: int
    found: Mapping[str, Sequence[Passage]]

    def search(self, questions: Sequence[str], k: int) -> list[list[Passage]]:
        known = self.found if k == self.top_k else {}
        rest = list(dict.fromkeys(question for question in questions if question not in known))
        fresh = dict(zip(rest, self.source.search(rest, k), strict=True)) if rest else {}
        return [list(known[question]) if question in known else fresh[question] for question in questions]

    def entries(self, keys: Collection[Key]) -> Mapping[Key, Entry]:
        return self.source.entries(keys)

    def read(self, entries: Sequence[Entry]) -> tuple[Mapping[Key, AdapterFactors], Mapping[Key, str]]:
        return self.source.read(entries)

    def augmentations(self, keys: Collection[Key]) -> Mapping[Key, Augmentation]:
        return self.source.augmentations(keys)

    def irrelevant(self, question: Question, retrieved: Sequence[Passage], k: int) -> list[Passage]:
        return self.source.irrelevant(question, retrieved, k)

    def gold(self, question: Question) -> list[Passage]:
        return self.source.gold(question)
