"""FLARE: retrieve for a sentence whose tokens the model was not sure of, asking with the tokens it was sure of.

Source: Jiang et al., EMNLP 2023; docs/methods.md. Two forms:

- `flare`, as the SIGIR 2025 paper compares it (the public code of DRAGIN): the whole answer is drafted, a sentence is not
  trusted if the mean of 1 - p over its tokens is above a threshold, and tokens whose 1 - p is above it are left out of the query.
- `flare_lookahead`, as first published: a draft looks 64 tokens ahead, one sentence of it stands at a time; it is not trusted if
  any token has p ≤ 0.8, and tokens with p ≤ 0.4 are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from prag_core.answering.base import Tools
from prag_core.answering.iterative.active import Doubt, Draft, answer_actively, observe
from prag_core.answering.iterative.spans import tokens_in
from prag_core.answering.iterative.state import Iterative, QuestionState
from prag_core.config.schema import MethodsConfig
from prag_core.records import Answer, Question

PUBLISHED = {"2wiki": 0.08, "hotpotqa": 0.1}  # mean of 1 - p


class Rule(Protocol):
    """Decides when a sentence is untrusted, and which of its tokens go into the query."""

    def weigh(self, probabilities: Sequence[float]) -> float: ...

    def doubts(self, probabilities: Sequence[float]) -> bool: ...

    def keeps(self, probability: float) -> bool: ...


@dataclass(frozen=True)
class MeanDoubt:
    """The form that the paper compares with."""

    threshold: float

    def weigh(self, probabilities: Sequence[float]) -> float:
        return sum(1 - p for p in probabilities) / len(probabilities)

    def doubts(self, probabilities: Sequence[float]) -> bool:
        return self.weigh(probabilities) > self.threshold

    def keeps(self, probability: float) -> bool:
        return 1 - probability <= self.threshold


@dataclass(frozen=True)
class AnyBelow:
    """The first published form."""

    act: float
    blank: float

    def weigh(self, probabilities: Sequence[float]) -> float:
        return min(probabilities)

    def doubts(self, probabilities: Sequence[float]) -> bool:
        return self.weigh(probabilities) <= self.act

    def keeps(self, probability: float) -> bool:
        return probability > self.blank


@dataclass(frozen=True, kw_only=True)
class Flare(Iterative):
    """FLARE as compared in the paper, or with `look_ahead` as first published."""

    look_ahead: bool

    def answer(self, questions: Sequence[Question], tools: Tools) -> list[Answer]:
        rule = self.rule(tools.methods)
        ahead = tools.methods.lookahead_tokens if self.look_ahead else None
        return answer_actively(
            questions,
            tools,
            lambda state, draft, first: find_doubt(draft, rule, first),
            merges=self.merges,
            draft_tokens=ahead,
            by_sentence=self.look_ahead,
        )

    @property
    def thresholds(self) -> tuple[str, ...]:
        return ("lookahead_act_below", "lookahead_blank_below") if self.look_ahead else ("flare_threshold",)

    def observe(self, threshold: str, questions: Sequence[Question], tools: Tools) -> list[float]:
        """Return the p of every token that would be acted for (`lookahead_blank_below`); else how sure each answer's least sure
        sentence is, as the threshold measures it."""
        rule = self.rule(tools.methods)
        of_tokens = threshold == "lookahead_blank_below"

        def weigh(state: QuestionState, draft: Draft) -> list[float]:
            sentences = [
                tokens_in(draft.tokens, span) for span in draft.sentences[: 1 if self.look_ahead else None]
            ]
            sure = [[draft.probabilities[i] for i in tokens] for tokens in sentences if tokens]
            return (
                [p for each in sure for p in each if rule.doubts([p])]
                if of_tokens
                else [rule.weigh(each) for each in sure]
            )

        ahead = tools.methods.lookahead_tokens if self.look_ahead else None
        weighed = observe(questions, tools, weigh, draft_tokens=ahead, by_sentence=self.look_ahead)
        if of_tokens:
            return [p for each in weighed for p in each]
        return [min(each) if self.look_ahead else max(each) for each in weighed if each]

    def rule(self, settings: MethodsConfig) -> Rule:
        if self.look_ahead:
            return AnyBelow(settings.lookahead_act_below, settings.lookahead_blank_below)
        given = settings.flare_threshold
        return MeanDoubt(PUBLISHED[settings.dataset] if given is None else given)


def find_doubt(draft: Draft, rule: Rule, first: int) -> Doubt | None:
    """Return the first sentence, from `first` on, that the rule doubts, and its certain tokens as the query."""
    for number in range(first, len(draft.sentences)):
        inside = tokens_in(draft.tokens, draft.sentences[number])
        if inside and rule.doubts([draft.probabilities[i] for i in inside]):
            return number, query_of(draft, inside, rule)
    return None


def query_of(draft: Draft, tokens: Sequence[int], rule: Rule) -> str:
    """Return the text of those tokens that the rule keeps; a space stands for those that it leaves out."""
    pieces = [
        draft.text[slice(*draft.tokens[i])] if rule.keeps(draft.probabilities[i]) else " " for i in tokens
    ]
    return " ".join("".join(pieces).split())
