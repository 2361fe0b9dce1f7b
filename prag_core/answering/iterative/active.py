"""Active retrieval, the loop of FLARE and DRAGIN: draft, find what is not to be trusted, retrieve for it, draft anew from there.

A draft is made without passages. The sentences before the first one that is not trusted stand; what is retrieved for that
one is shown while it is drafted anew, and its new wording stands as it is: every retrieval moves the answer on by a sentence.
Later sentences of the new draft are looked at like any other, until `methods.max_rounds` retrievals are spent. The published
code takes all of what it drafts after a retrieval: that is `methods.max_rounds=1`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from prag_core.answering.base import Stopwatch, Tools
from prag_core.answering.iterative.spans import Span, sentence_spans, token_spans, tokens_in
from prag_core.answering.iterative.state import ANSWERED, QuestionState, answers, generate, retrieve
from prag_core.engines.base import Generation, Sampling
from prag_core.records import Answer, Question


@dataclass(frozen=True)
class Draft:
    """A generation, cut to what the answer may still have, with the places of its tokens and sentences in its text."""

    token_ids: tuple[int, ...]
    probabilities: tuple[float, ...]
    text: str
    tokens: list[Span]
    sentences: list[Span]
    ended: bool  # by the model itself


Doubt = tuple[int, str]  # the first sentence not to be trusted, and what to ask retrieval about it
Judge = Callable[[QuestionState, Draft, int], Doubt | None]  # of a draft, from that sentence on


def answer_actively(
    questions: Sequence[Question],
    tools: Tools,
    judge: Judge,
    *,
    merges: bool,
    draft_tokens: int | None = None,
    by_sentence: bool = False,
) -> list[Answer]:
    """Drafts go on for `draft_tokens` (none said: as far as the answer may go), and one sentence of each stands at most if
    `by_sentence`. With `merges`, the adapters of all that was retrieved are merged into every later draft."""
    clock = Stopwatch()
    states = [QuestionState(question) for question in questions]
    while running := [state for state in states if not state.done]:
        room = max(tools.max_new_tokens - len(state.token_ids) for state in running)
        sampling = Sampling(min(room, draft_tokens or room), probabilities=True)
        drafts = generate(running, tools, clock, sampling)
        unsure: list[tuple[QuestionState, str]] = []
        for state, generation in zip(running, drafts, strict=True):
            draft = _cut(generation, tools.max_new_tokens - len(state.token_ids), tools)
            with clock.stage("judge"):
                query = _take(
                    state,
                    draft,
                    judge if len(state.rounds) < tools.methods.max_rounds else _trust,
                    by_sentence,
                )
            if query is not None:
                unsure.append((state, query))
        retrieve(
            [state for state, _ in unsure],
            [query for _, query in unsure],
            tools,
            clock,
            merges=merges,
        )
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
    """What a judge would weigh if it never doubted: for each question the figures that `weigh` gives of its drafts, which are
    then all made without passages."""
    weighed: dict[int, list[float]] = {}

    def judge(state: QuestionState, draft: Draft, first: int) -> None:
        weighed.setdefault(id(state.question), []).extend(weigh(state, draft))

    answer_actively(questions, tools, judge, merges=False, draft_tokens=draft_tokens, by_sentence=by_sentence)
    return [weighed[id(question)] for question in questions]


def _take(state: QuestionState, draft: Draft, judge: Judge, by_sentence: bool) -> str | None:
    """Let the state have what stands of the draft. The query for what does not, or None where all that was read does."""
    doubt = judge(state, draft, int(state.fresh))
    sentences = draft.sentences[:1] if by_sentence else draft.sentences
    if doubt is not None and doubt[0] >= len(sentences):
        doubt = None  # its turn comes with the next draft
    trusted = sentences if doubt is None else sentences[: doubt[0]]
    end = trusted[-1][1] if trusted else 0
    stands = tokens_in(draft.tokens, (0, end)).stop
    state.token_ids += draft.token_ids[:stands]
    state.passages, state.fresh = [], False
    if doubt is not None:
        return doubt[1]
    all_read = stands == len(draft.token_ids)
    state.done = (all_read and draft.ended) or not stands or ANSWERED in draft.text[:end].lower()
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


def _trust(state: QuestionState, draft: Draft, first: int) -> None:
    return None
