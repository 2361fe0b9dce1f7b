"""What the methods of several rounds share: the state of one question on its way, and one engine call for all of them.

A method keeps a `Thread` for each question of a batch. A round asks the engine once for every thread that is not done, each
with its own merged adapter. Retrieval is bounded by `methods.max_rounds`, what a thread collects by `methods.max_documents`.

With `parametric`, the documents of all retrievals so far, first come first (at most `methods.max_documents`), are merged and
stay merged; a document among them without a usable adapter stays in the prompt as text. Where a prompt would leave the
context no room for what is to be generated, the last of its passages are left out: an answer's passages are those that were
shown or merged on the way, its rounds say all that was found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from prag_core.answering.base import NO_MERGE, Merge, Stopwatch, Tools, merge_passages
from prag_core.config.schema import Config, PromptConfig
from prag_core.engines.base import Generation, Request, Sampling
from prag_core.models import prompts
from prag_core.records import Answer, Key, Passage, Question, Round

ANSWERED = "answer is"  # a sentence that says this is the last one


@dataclass
class Thread:
    """One question: the tokens of its answer that stand, its retrievals, the passages to show next (`fresh`: just retrieved),
    its merged adapter, every passage that was shown or merged so far, which of them were shown, and the prompt of its last
    generation."""

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
        """The documents of all retrievals, each once, in the order they came, at most so many."""
        found: dict[Key, Passage] = {}
        for made in self.rounds:
            for passage in made.passages:
                found.setdefault(passage.key, passage)
        return list(found.values())[:most]


def retrieve(
    threads: Sequence[Thread], queries: Sequence[str], tools: Tools, clock: Stopwatch, *, parametric: bool
) -> None:
    """One retrieval for each thread; what it finds is what the thread shows next. A query without a letter or digit asks the
    question itself."""
    asked = [
        query.strip() if any(char.isalnum() for char in query) else thread.question.question
        for query, thread in zip(queries, threads, strict=True)
    ]
    with clock.stage("retrieve"):
        found = tools.source.search(asked, tools.top_k)
    for thread, query, passages in zip(threads, asked, found, strict=True):
        thread.rounds.append(Round(query, tuple(passages)))
        thread.passages, thread.fresh = list(passages), True
    if parametric and threads:
        merges = merge_passages(
            [thread.collected(tools.methods.max_documents) for thread in threads], tools, clock
        )
        for thread, merge in zip(threads, merges, strict=True):
            thread.merge = merge


def generate(
    threads: Sequence[Thread],
    tools: Tools,
    clock: Stopwatch,
    sampling: Sampling,
    wording: PromptConfig | None = None,
) -> list[Generation]:
    """Each thread goes on from the tokens that stand, over its passages; `wording` is the bank's own unless said."""
    requests = []
    for thread in threads:
        thread.prompt, texts = _prompt(thread, tools, sampling.max_new_tokens, wording or tools.prompt)
        merged = [p for p in thread.collected(tools.methods.max_documents) if p.key in thread.merge.plan.keys]
        thread.used |= {passage.key: passage for passage in [*texts, *merged]}
        thread.shown |= dict.fromkeys(passage.key for passage in texts)
        requests.append(Request(thread.prompt, thread.merge.adapter))
    with clock.stage("generate"):
        generations = tools.engine.generate(requests, sampling)
    for thread, generation in zip(threads, generations, strict=True):
        thread.num_tokens += len(generation.token_ids)
    return generations


def _prompt(
    thread: Thread, tools: Tools, room: int, wording: PromptConfig
) -> tuple[tuple[int, ...], list[Passage]]:
    """The question over its passages, then the tokens of its answer that stand; and which passages those are."""
    kept = thread.collected(tools.methods.max_documents)
    keys = {passage.key for passage in thread.passages}
    texts = thread.passages + [
        passage for passage in thread.merge.plan.shown(kept, text=False) if passage.key not in keys
    ]
    while True:
        shown_as = [(passage.title, passage.text) for passage in texts]
        asked = prompts.encode_question(
            tools.engine.tokenizer, thread.question.question, shown_as, wording, tools.fewshot, tools.earlier
        )
        prompt = (*asked, *thread.token_ids)
        if not texts or len(prompt) + room <= tools.engine.max_length:
            return prompt, texts
        texts = texts[:-1]


def answers(threads: Sequence[Thread], tools: Tools, clock: Stopwatch) -> list[Answer]:
    """The answer of each thread: the text of the tokens that stand."""
    timings = clock.per(len(threads))
    return [
        Answer(
            tools.engine.tokenizer.decode(thread.token_ids, skip_special_tokens=True),
            passages=tuple(thread.used.values()),
            adapters=thread.merge.plan.keys,
            degraded=thread.merge.plan.degraded,
            timings_ms=timings,
            rounds=tuple(thread.rounds),
            num_tokens=thread.num_tokens,
            shown=tuple(thread.shown),
            finish="length" if len(thread.token_ids) >= tools.max_new_tokens else "stop",
        )
        for thread in threads
    ]


def most_adapters(config: Config, *, parametric: bool) -> int:
    """Documents whose adapters a thread merges at most."""
    return config.methods.max_documents if parametric else 0


def reasoning(prompt: PromptConfig) -> PromptConfig:
    """The bank's prompt, asking for worked reasoning whatever the bank's own answers are."""
    return replace(prompt, cot=True)
