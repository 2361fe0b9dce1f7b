"""What iterative methods share: the state of each question of a batch, one retrieval and one engine call a round for all of them.

A round asks the engine once for every question that is not done, each with its own merged adapter. Retrievals are bounded by
`methods.max_rounds`, the documents that a question collects by `methods.max_documents`.

With `merges`, the documents of all retrievals so far, first come first (at most `methods.max_documents`), are merged and
stay merged; a document among them without a usable adapter stays in the prompt as text. Where a prompt would leave the
context no room for what is to be generated, the last of its passages are left out: an answer's passages are those that were
shown or merged on the way, its rounds say all that was found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from prag_core.answering.base import Kind, Method, Stopwatch, Tools
from prag_core.answering.one_round import NO_MERGE, Merge, merge_passages
from prag_core.config.schema import Config, PromptConfig
from prag_core.engines.base import Generation, Request, Sampling
from prag_core.models import prompts
from prag_core.records import Answer, Key, Passage, Question, Round

ANSWERED = "answer is"  # a sentence that says this is the last one


@dataclass(frozen=True, kw_only=True)
class Iterative(Method):
    """A method that retrieves by itself while it answers. If it `merges`, it merges the adapters of all that it retrieves."""

    kind: Kind = "iterative"

    def most_documents(self, config: Config) -> int:
        return config.methods.max_documents if self.merges else 0


@dataclass
class QuestionState:
    """How far the answer to one question is: its accepted tokens, its retrievals, the passages to show next (`fresh`: just
    retrieved), its merge, the passages that were shown or merged so far, which of them were shown, and the last prompt."""

    question: Question
    token_ids: list[int] = field(default_factory=list)
    rounds: list[Round] = field(default_factory=list)
    passages: list[Passage] = field(default_factory=list)
    merge: Merge = NO_MERGE
    used: dict[Key, Passage] = field(default_factory=dict)
    shown: dict[Key, None] = field(default_factory=dict)
    prompt: tuple[int, ...] = ()
    fresh: bool = False
    num_tokens: int = 0
    done: bool = False

    def collected(self, most: int) -> list[Passage]:
        """Return the documents of all retrievals, each once, in the order they came, at most `most` of them."""
        found: dict[Key, Passage] = {}
        for made in self.rounds:
            for passage in made.passages:
                found.setdefault(passage.key, passage)
        return list(found.values())[:most]


def retrieve(
    states: Sequence[QuestionState], queries: Sequence[str], tools: Tools, clock: Stopwatch, *, merges: bool
) -> None:
    """Retrieve once for each question, to show what is found in its next prompt. A query without a letter or digit becomes the
    question itself."""
    asked = [
        query.strip() if any(char.isalnum() for char in query) else state.question.question
        for query, state in zip(queries, states, strict=True)
    ]
    with clock.stage("retrieve"):
        found = tools.source.search(asked, tools.top_k)
    for state, query, passages in zip(states, asked, found, strict=True):
        state.rounds.append(Round(query, tuple(passages)))
        state.passages, state.fresh = list(passages), True
    if merges and states:
        wanted = [state.collected(tools.methods.max_documents) for state in states]
        for state, merge in zip(states, merge_passages(wanted, tools, clock), strict=True):
            state.merge = merge


def generate(
    states: Sequence[QuestionState],
    tools: Tools,
    clock: Stopwatch,
    sampling: Sampling,
    wording: PromptConfig | None = None,
) -> list[Generation]:
    """Continue each answer from its tokens so far, over its passages; `wording` is the bank's own by default."""
    requests = []
    for state in states:
        state.prompt, texts = _prompt(state, tools, sampling.max_new_tokens, wording or tools.prompt)
        merged = [p for p in state.collected(tools.methods.max_documents) if p.key in state.merge.plan.keys]
        state.used |= {passage.key: passage for passage in [*texts, *merged]}
        state.shown |= dict.fromkeys(passage.key for passage in texts)
        requests.append(Request(state.prompt, state.merge.adapter))
    with clock.stage("generate"):
        generations = tools.engine.generate(requests, sampling)
    for state, generation in zip(states, generations, strict=True):
        state.num_tokens += len(generation.token_ids)
    return generations


def _prompt(
    state: QuestionState, tools: Tools, room: int, wording: PromptConfig
) -> tuple[tuple[int, ...], list[Passage]]:
    """The question over its passages, then the tokens of its answer so far; and the passages that had room."""
    kept = state.collected(tools.methods.max_documents)
    keys = {passage.key for passage in state.passages}
    texts = state.passages + [
        passage for passage in state.merge.plan.shown(kept, text=False) if passage.key not in keys
    ]
    while True:
        shown_as = [(passage.title, passage.text) for passage in texts]
        asked = prompts.encode_question(
            tools.engine.tokenizer, state.question.question, shown_as, wording, tools.fewshot, tools.earlier
        )
        prompt = (*asked, *state.token_ids)
        if not texts or len(prompt) + room <= tools.engine.max_length:
            return prompt, texts
        texts = texts[:-1]


def answers(states: Sequence[QuestionState], tools: Tools, clock: Stopwatch) -> list[Answer]:
    """Return each question's answer: the text of its tokens so far."""
    timings = clock.per(len(states))
    return [
        Answer(
            prompts.without_first_blank(
                tools.engine.tokenizer.decode(state.token_ids, skip_special_tokens=True)
            ),
            passages=tuple(state.used.values()),
            adapters=state.merge.plan.keys,
            degraded=state.merge.plan.degraded,
            timings_ms=timings,
            rounds=tuple(state.rounds),
            num_tokens=state.num_tokens,
            shown=tuple(state.shown),
            finish="length" if len(state.token_ids) >= tools.max_new_tokens else "stop",
        )
        for state in states
    ]


def reasoning(prompt: PromptConfig) -> PromptConfig:
    """Return the bank's prompt in the form that asks for reasoning, whatever form the bank's own answers have."""
    return replace(prompt, cot=True)
