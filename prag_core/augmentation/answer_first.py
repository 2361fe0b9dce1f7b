"""Pairs made from their answers: code finds the answers in the passage, a model writes each its question, and is asked it back.

For models too weak for the published prompt, which asks for three questions, their answers and JSON at once. See `questions` for
how a model is asked. What a check rejects is written again, drawn instead of decoded greedily, up to `max_attempts` times. An
answer whose questions all fail is asked by its sentence with a question word in its place (`augmentation.echo_questions`), or
left out.

The full answer is the sentence: what a weak model makes of it is only worse. Questions of a document are distinct and in the
order of `choose_spans`, spread over its sentences. All documents' requests of an attempt go to the engine together. Rewrites are
the published method's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from prag_core.augmentation.checks import Reason, folded, is_question, question_problem
from prag_core.augmentation.published import write_published
from prag_core.augmentation.questions import (
    ANSWER_TOKENS,
    QUESTION_TOKENS,
    STOP,
    comes_back,
    echo_question,
    read_question,
    reading_prompt,
    turning_prompt,
    with_title,
)
from prag_core.augmentation.result import AugmentResult, Count
from prag_core.augmentation.spans import NO_SPANS, Span, choose_spans
from prag_core.config.schema import AugmentationConfig, PromptConfig
from prag_core.engines.base import Engine, Request, Sampling
from prag_core.identity import content_hash, digest
from prag_core.models.control_tokens import encode_text
from prag_core.records import Document, Failure, QAPair


@dataclass
class _Draft:
    """The state of one document: its answers, and the questions found for them so far, by place."""

    document: Document
    content: str
    spans: list[Span]
    questions: dict[int, str] = field(default_factory=dict)

    @property
    def known(self) -> set[str]:
        return set(map(folded, self.questions.values()))


def write_answer_first(
    documents: Sequence[Document],
    engine: Engine,
    settings: AugmentationConfig,
    prompt: PromptConfig,
    generator: str,
    count: Count,
) -> AugmentResult:
    """Write rewrites and at most `num_qa_pairs` pairs about each document. One of whose answers none got a question is
    quarantined. Raises what the engine raises."""
    plain = replace(settings, num_qa_pairs=0)
    rewritten = write_published(documents, engine, plain, prompt, generator)
    if not settings.num_qa_pairs:
        return rewritten
    by_key = {document.key: document for document in documents}
    drafts = [
        _Draft(document, content_hash(document), choose_spans(document.text, settings.num_qa_pairs))
        for document in (by_key[augmentation.key] for augmentation in rewritten.augmentations)
    ]
    tally = Counter(rewritten.tally)
    for attempt in range(1, settings.max_attempts + 1):
        _write_questions(drafts, engine, settings, attempt, tally)
        count(draft.document.key for draft in drafts if len(draft.questions) == len(draft.spans))
    if settings.echo_questions:
        _echo(drafts, tally)
    made = [list(_pairs(draft)) or _failure(draft, settings) for draft in drafts]
    return rewritten._replace(tally=tally).with_pairs(made, documents)


def _write_questions(
    drafts: Sequence[_Draft], engine: Engine, settings: AugmentationConfig, attempt: int, tally: Counter[str]
) -> None:
    """Write a question for every answer that has none, and keep those that pass. The first attempt is greedy."""
    asked = [
        (draft, place)
        for draft in drafts
        for place in range(len(draft.spans))
        if place not in draft.questions
    ]
    temperature = settings.temperature if attempt > 1 else 0.0
    sampling = Sampling(QUESTION_TOKENS, temperature, settings.top_k, stop=STOP)
    prompts = [turning_prompt(draft.spans[place]) for draft, place in asked]
    seeds = [_seed(draft, settings, attempt, place) for draft, place in asked]
    written = _complete(engine, prompts, sampling, seeds)
    passed = []
    for (draft, place), text in zip(asked, written, strict=True):
        question = read_question(draft.spans[place], text)
        tally["pairs"] += 1
        reason = _problem(question, draft, place)
        if reason:
            tally[reason.value] += 1
        else:
            passed.append((draft, place, question))
    prompts = [reading_prompt(question, d.spans[place]) for d, place, question in passed]
    replies = _complete(engine, prompts, Sampling(ANSWER_TOKENS, stop=STOP), [0] * len(prompts))
    for (draft, place, question), reply in zip(passed, replies, strict=True):
        if not comes_back(draft.spans[place], reply):
            tally[Reason.answered_otherwise.value] += 1
        elif folded(question) in draft.known:
            tally[Reason.repeated.value] += 1
        else:
            draft.questions[place] = with_title(question, draft.document.title)


def _problem(question: str, draft: _Draft, place: int) -> Reason | None:
    if not is_question(question):
        return Reason.not_a_question
    span = draft.spans[place]
    return question_problem(question, span.text, f"{draft.document.title}\n{span.context}")


def _echo(drafts: Sequence[_Draft], tally: Counter[str]) -> None:
    for draft in drafts:
        for place, span in enumerate(draft.spans):
            question = with_title(echo_question(span), draft.document.title)
            if place not in draft.questions and folded(question) not in draft.known:
                draft.questions[place] = question
                tally["echo_questions"] += 1


def _complete(engine: Engine, prompts: Sequence[str], sampling: Sampling, seeds: Sequence[int]) -> list[str]:
    """Let the model go on with each prompt."""
    if not prompts:
        return []
    requests = [
        Request(tuple(encode_text(engine.tokenizer, prompt, add_special_tokens=True)), seed=seed)
        for prompt, seed in zip(prompts, seeds, strict=True)
    ]
    return [generation.text for generation in engine.generate(requests, sampling)]


def _seed(draft: _Draft, settings: AugmentationConfig, attempt: int, place: int) -> int:
    return int(digest([draft.content, settings.seed, "question", attempt, place])[:7], 16)


def _pairs(draft: _Draft) -> Iterator[QAPair]:
    for place, span in enumerate(draft.spans):
        if place in draft.questions:
            yield QAPair(draft.questions[place], span.text, span.sentence)


def _failure(draft: _Draft, settings: AugmentationConfig) -> Failure:
    reason = (
        f"after {settings.max_attempts} attempts none of its {len(draft.spans)} answers has a question"
        if draft.spans
        else NO_SPANS
    )
    attempts = settings.max_attempts
    return Failure(draft.document.doc_id, draft.document.chunk, draft.content, "augment", reason, attempts)
