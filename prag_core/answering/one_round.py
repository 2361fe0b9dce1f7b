"""One round for a batch of questions: their passages as text, as merged adapters, or both, and one call to the engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from prag_core.answering.base import Kind, Method, Stopwatch, Tools
from prag_core.answering.merge_plan import MergePlan, plan_merge
from prag_core.engines.base import Request, Sampling
from prag_core.merging import MergedAdapter
from prag_core.models import prompts
from prag_core.records import Answer, Passage, Question, Round


@dataclass(frozen=True, kw_only=True)
class OneRound(Method):
    """A method of at most one retrieval and one generation. Its passages are shown as `text`, with what was written about them
    if they are `augmented`; a document that it should merge and cannot is shown whatever `text` is."""

    kind: Kind = "one_round"
    text: bool
    augmented: bool = False


@dataclass(frozen=True)
class Merge:
    """A question's merge as planned, and the merged adapter, None where nothing is merged."""

    plan: MergePlan
    adapter: MergedAdapter | None = None


NO_MERGE = Merge(MergePlan())


def answer_once(
    questions: Sequence[Question],
    passages: Sequence[Sequence[Passage]],
    tools: Tools,
    clock: Stopwatch,
    *,
    text: bool,
    merges: bool,
) -> list[Answer]:
    """Answer each question over its passages: shown as `text`, merged (`merges`), or both (neither: closed book).

    A passage whose adapter is missing or corrupt is shown as text instead, and the answer says so in `degraded`.
    """
    merged = merge_passages(passages, tools, clock) if merges else [NO_MERGE] * len(questions)
    texts = [merge.plan.shown(found, text=text) for found, merge in zip(passages, merged, strict=True)]
    requests = [
        Request(encode_question(question.question, in_prompt, tools), merge.adapter)
        for question, in_prompt, merge in zip(questions, texts, merged, strict=True)
    ]
    with clock.stage("generate"):
        generations = tools.engine.generate(requests, Sampling(tools.max_new_tokens))
    timings = clock.per(len(questions))
    return [
        Answer(
            prompts.without_first_blank(done.text),
            passages=tuple(found),
            adapters=merge.plan.keys,
            degraded=merge.plan.degraded,
            timings_ms=timings,
            num_tokens=len(done.token_ids),
            shown=tuple(passage.key for passage in in_prompt),
            finish=done.finish,
        )
        for done, found, merge, in_prompt in zip(generations, passages, merged, texts, strict=True)
    ]


def trace(
    answers: Sequence[Answer], questions: Sequence[Question], found: Sequence[Sequence[Passage]]
) -> list[Answer]:
    """Note in each answer that its question itself was asked of retrieval, and what that found."""
    rounds = [
        Round(question.question, tuple(passages)) for question, passages in zip(questions, found, strict=True)
    ]
    return [replace(answer, rounds=(made,)) for answer, made in zip(answers, rounds, strict=True)]


def encode_question(question: str, passages: Sequence[Passage], tools: Tools) -> tuple[int, ...]:
    """Encode a question over passages, up to where the model goes on."""
    shown_as = [(passage.title, passage.text) for passage in passages]
    return prompts.encode_question(
        tools.engine.tokenizer, question, shown_as, tools.prompt, tools.fewshot, tools.earlier
    )


def merge_passages(passages: Sequence[Sequence[Passage]], tools: Tools, clock: Stopwatch) -> list[Merge]:
    """Merge the adapters of each question's passages. All that are needed are read at once."""
    with clock.stage("fetch"):
        entries = tools.source.entries({passage.key for found in passages for passage in found})
        plans = [plan_merge(found, entries, tools.recipe_id) for found in passages]
        wanted = {entry.key: entry for plan in plans for entry in plan.entries}
        factors, unreadable = tools.source.read(list(wanted.values()))
        plans = [plan.without(unreadable) for plan in plans]
    with clock.stage("merge"):
        return [Merge(plan, plan.merge(factors, tools.layout, tools.merge, tools.start)) for plan in plans]
