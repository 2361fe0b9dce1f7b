"""Active retrieval, the loop of FLARE and DRAGIN: draft, find an untrusted sentence, retrieve for it, draft again from there.

A draft is made without passages. The sentences before the first untrusted one are accepted. What is retrieved for that one is
shown while it is drafted again, and its new wording is accepted as it is, so that every retrieval advances the answer by a
sentence. Later sentences of the new draft are judged like any other, until `methods.max_rounds` retrievals are spent. The
published code accepts everything that it drafts after a retrieval: that is `methods.max_rounds=1`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from prag_core.answering.base import Stopwatch, Tools
from prag_core.answering.iterative.spans import token_spans, tokens_in
from prag_core.answering.iterative.state import ANSWERED, QuestionState, answers, generate, retrieve
from prag_core.engines.base import Generation, Sampling
from prag_core.records import Answer, Question
from prag_core.text.sentences import Span, sentence_spans


@dataclass(frozen=True)
class Draft:
    """A generation, cut to the room that the answer has left, with the places of its tokens and sentences in its text."""

    token_ids: tuple[int, ...]
    probabilities: tuple[float, ...]
    text: str
    tokens: list[Span]
    sentences: list[Span]
    ended: bool  # by the model itself


Doubt = tuple[int, str]  # the first untrusted sentence, and the retrieval query for it
Judge = Callable[[QuestionState, Draft, int], Doubt | None]  # judges a draft from that sentence on


def answer_actively(
    questions: Sequence[Question],
    tools: Tools,
    judge: Judge,
    *,
    merges: bool,
    draft_tokens: int | None = None,
    by_sentence: bool = False,
) -> list[Answer]:
    """Answer by drafts of `draft_tokens` (default: as long as the answer may be), at most one sentence
    of each accepted if `by_sentence`. With `merges`, the adapters of all that was retrieved are merged into every later draft."""
    clock = Stopwatch()
    states = [QuestionState(question) for question in questions]
    while running := [state for state in states if not state.done]:
        room = max(tools.max_new_tokens - len(state.token_ids) for state in running)
        sampling = Sampling(min(room, draft_tokens or room), probabilities=True)
        drafts = generate(running, tools, clock, sampling)
        unsure: list[QuestionState] = []
        queries: list[str] = []
        for state, generation in zip(running, drafts, strict=True):
            draft = _cut(generation, tools.max_new_tokens - len(state.token_ids), tools)
            with clock.stage("judge"):
                may_retrieve = len(state.rounds) < tools.methods.max_rounds
                doubt = judge(state, draft, int(state.fresh)) if may_retrieve else None
                query = _accept(state, draft, doubt, by_sentence)
            if query is not None:
                unsure.append(state)
                queries.append(query)
        retrieve(unsure, queries, tools, clock, merges=merges)
        for state in running:
            state.done = state.done or len(state.token_ids) >= tools.max_new_tokens
    return answers(states, tools, clock)


def observe(
    questions: Sequence[Question],
    tools: Tools,
    weigh: Callable[[QuestionState, Draft], Sequence[float]],
    *,
    draft_tokens: int | None = None,
    by_sentence: bool = False,
) -> list[list[float]]:
    """Return what a judge that never doubts would weigh: for each question what `weigh` gives of its drafts, all of which are
    then made without passages."""
    weighed: dict[int, list[float]] = {}

    def judge(state: QuestionState, draft: Draft, first: int) -> None:
        weighed.setdefault(id(state.question), []).extend(weigh(state, draft))

    answer_actively(questions, tools, judge, merges=False, draft_tokens=draft_tokens, by_sentence=by_sentence)
    return [weighed[id(question)] for question in questions]


def _accept(state: QuestionState, draft: Draft, doubt: Doubt | None, by_sentence: bool) -> str | None:
    """Append the trusted prefix of `draft` to the answer. Return the query for the first untrusted sentence, or None."""
    sentences = draft.sentences[:1] if by_sentence else draft.sentences
    if doubt is not None and doubt[0] >= len(sentences):
        doubt = None  # that sentence is judged again in the next draft
    trusted = sentences if doubt is None else sentences[: doubt[0]]
    end = trusted[-1][1] if trusted else 0
    accepted = tokens_in(draft.tokens, (0, end)).stop
    state.token_ids += draft.token_ids[:accepted]
    state.passages, state.fresh = [], False
    if doubt is not None:
        return doubt[1]
    whole = accepted == len(draft.token_ids)
    state.done = (whole and draft.ended) or not accepted or ANSWERED in draft.text[:end].lower()
    return None


def _cut(generation: Generation, room: int, tools: Tools) -> Draft:
    assert generation.probabilities is not None  # asked for
    token_ids = generation.token_ids[:room]
    tokenizer = tools.engine.tokenizer
    text = tokenizer.decode(list(token_ids), skip_special_tokens=True)
    ended = generation.finish == "stop" and len(token_ids) == len(generation.token_ids)
    probabilities = generation.probabilities[:room]
    return Draft(
        token_ids, probabilities, text, token_spans(tokenizer, token_ids), sentence_spans(text), ended
    )
