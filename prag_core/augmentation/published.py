"""The published method: a model is asked for rewrites and for pairs, each about the whole passage.

The prompts are the published ones. All documents' requests of an attempt go to the engine together; what cannot be used
is asked for again, with another seed, up to `max_attempts` times; a document that still lacks something is quarantined
with the reason. A request's seed comes from the document's content, its purpose, attempt and number, so that a document's
augmentation does not depend on which others are written with it.

What is accepted, beyond what the reference accepts:
- Pairs are kept when their questions differ (case and spacing aside), in the order they were written, over all attempts.
  More pairs than the published three are asked for in requests of three each. A document that runs out of attempts with at
  least three of them is kept with those.
- A rewrite cut off at `max_new_tokens` is kept, as in the reference; an empty one never. One equal to the passage, or to
  another rewrite, is kept only when the last attempt gave nothing better.
- Pairs whose JSON was cut off are asked for again with their strings' lengths bounded, ever tighter, so that a weak model
  comes to an end.
- A thought before an answer is no part of it. One that takes all of `max_new_tokens` leaves nothing, and is asked again.

With `augmentation.checks=drop`, what a check finds fault with is asked again as well; a document that runs out of attempts is
kept with what passed, if that is at least one pair where it was to have any. With `count`, the reference's way, it is kept and
counted.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from prag_core.augmentation.checks import folded, pair_problem, rewrite_problem
from prag_core.augmentation.result import AugmentResult, Count
from prag_core.config.schema import AugmentationConfig, Checks, PromptConfig
from prag_core.engines.base import Engine, Generation, Request, Sampling
from prag_core.identity import content_hash, digest
from prag_core.models.prompts import encode, qa_messages, rewrite_messages, show_passage
from prag_core.records import Augmentation, Document, Failure, QAPair

PAIRS_PER_REQUEST = 3  # the published prompt's
STRING_BOUNDS = (
    None,
    200,
    80,
    40,
)  # characters of a question or sentence, by how often the document's JSON was cut off


@dataclass
class _Draft:
    """The state of one document: what has been written about it so far, and what went wrong last."""

    document: Document
    content: str
    rewrite_prompt: tuple[int, ...]
    pairs_prompt: tuple[int, ...]
    num_pairs: int
    rewrites: list[str]  # "": still to be written
    dropping: bool  # what a check finds fault with
    pairs: dict[str, QAPair] = field(default_factory=dict)  # by folded question
    attempts: int = 0
    cut_off: int = 0  # answers of its pairs that ended at max_new_tokens
    problem: str = ""  # with the last unusable answer
    too_long: str = ""

    @property
    def missing_pairs(self) -> int:
        return max(0, self.num_pairs - len(self.pairs))

    @property
    def complete(self) -> bool:
        return not self.missing_pairs and all(self.rewrites)

    @property
    def acceptable(self) -> bool:
        if self.too_long:
            return False
        if self.dropping:
            return bool(self.pairs) or not self.num_pairs
        return all(self.rewrites) and len(self.pairs) >= min(PAIRS_PER_REQUEST, self.num_pairs)

    @property
    def passage(self) -> str:
        return show_passage(self.document.title, self.document.text, with_title=True)

    def seed(self, settings: AugmentationConfig, purpose: str, number: int) -> int:
        return int(digest([self.content, settings.seed, purpose, self.attempts, number])[:7], 16)


class _Ask(NamedTuple):
    """A request about a draft; `number` tells requests of one purpose apart."""

    draft: _Draft
    number: int
    request: Request


def write_published(
    documents: Sequence[Document],
    engine: Engine,
    settings: AugmentationConfig,
    prompt: PromptConfig,
    generator: str,
    count: Count = lambda _: None,
) -> AugmentResult:
    """Write rewrites and pairs about `documents`.

    A document whose prompt and answer exceed the engine's context is quarantined, never cut. Raises what the engine raises.
    """
    drafts = [_draft(document, engine, settings, prompt) for document in documents]
    tally: Counter[str] = Counter()
    for attempt in range(1, settings.max_attempts + 1):
        unfinished = [draft for draft in drafts if not draft.too_long and not draft.complete]
        for draft in unfinished:
            draft.attempts = attempt
        _write_rewrites(unfinished, engine, settings, tally, last=attempt == settings.max_attempts)
        _write_pairs(unfinished, engine, settings, tally)
        count(draft.document.key for draft in unfinished if draft.complete)
    return AugmentResult(
        [_augmentation(draft, generator) for draft in drafts if draft.acceptable],
        [_failure(draft) for draft in drafts if not draft.acceptable],
        tally,
    )


def pairs_schema(count: int, bound: int | None) -> dict[str, Any]:
    """Return the JSON schema of `count` pairs. A question and a sentence have at most `bound` characters, an answer half as many.

    An empty string is not forbidden here but dropped by `parse_pairs`: xgrammar takes no escapes (a quotation mark) in
    strings of limited length.
    """
    limits = {"question": bound, "answer": bound and bound // 2, "full_answer": bound}
    properties = {
        name: {"type": "string"} | ({"maxLength": limit} if limit else {}) for name, limit in limits.items()
    }
    pair = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    return {"type": "array", "items": pair, "minItems": count, "maxItems": count}


def parse_pairs(text: str, count: int) -> list[QAPair]:
    """Return the first `count` usable pairs of a JSON list. A list answer is joined by ", ", a number becomes text, null
    "Unknown", a missing full_answer the answer; a pair without question or answer is left out. Raises ValueError where
    `text` is not a JSON list, or no pair of it is usable."""
    items = json.loads(text, strict=False)  # models leave line breaks in strings
    if not isinstance(items, list):
        raise ValueError(f"expected a JSON list, found {type(items).__name__}")
    pairs = []
    for item in items[:count]:
        if not isinstance(item, dict):
            continue
        question, answer, full_answer = (
            _as_text(item.get(name, "")) for name in ("question", "answer", "full_answer")
        )
        if question and answer:
            pairs.append(QAPair(question, answer, full_answer or answer))
    if not pairs:
        raise ValueError("no pair with a question and an answer")
    return pairs


def _as_text(value: Any) -> str:
    if value is None:
        return "Unknown"
    if isinstance(value, list):
        return ", ".join(_as_text(part) for part in value)
    text = value if isinstance(value, str) else json.dumps(value)
    storable = text.encode("utf-8", "replace").decode()  # JSON can spell half of a surrogate pair
    return _whole_characters(storable)


def _whole_characters(text: str) -> str:
    """Written text without what stands for parts of characters: tokens may be single bytes, and weak models write some alone."""
    return text.replace("\ufffd", "").strip()


def _draft(document: Document, engine: Engine, settings: AugmentationConfig, prompt: PromptConfig) -> _Draft:
    passage = show_passage(document.title, document.text, with_title=prompt.with_title)
    num_pairs = settings.num_qa_pairs
    rewriting = encode(engine.tokenizer, rewrite_messages(passage))
    asking = encode(engine.tokenizer, qa_messages(passage, min(PAIRS_PER_REQUEST, num_pairs)))
    rewrites = [""] * settings.num_rewrites
    dropping = settings.checks is Checks.drop
    draft = _Draft(
        document, content_hash(document), tuple(rewriting), tuple(asking), num_pairs, rewrites, dropping
    )
    longest = max(len(rewriting) if rewrites else 0, len(asking) if num_pairs else 0)
    if longest + settings.max_new_tokens > engine.max_length:
        draft.too_long = (
            f"too long: its prompt has {longest} tokens and the answer may have {settings.max_new_tokens}, "
            f"the model's context is {engine.max_length}; split it (corpus.long_documents=chunk)"
        )
    return draft


def _write_rewrites(
    drafts: Sequence[_Draft], engine: Engine, settings: AugmentationConfig, tally: Counter[str], *, last: bool
) -> None:
    asks = [
        _Ask(draft, number, Request(draft.rewrite_prompt, seed=draft.seed(settings, "rewrite", number)))
        for draft in drafts
        for number, rewrite in enumerate(draft.rewrites)
        if not rewrite
    ]
    sampling = Sampling(settings.max_new_tokens, settings.temperature, settings.top_k)
    for (draft, number, _), generation in _generate(asks, engine, sampling):
        text = _whole_characters(generation.text)
        known = {draft.document.text.strip(), *draft.rewrites}
        reason = rewrite_problem(text, draft.document.text) if text else None
        tally["rewrites"] += 1
        if reason:
            tally[reason.value] += 1
        if reason and draft.dropping:
            draft.problem = f"its rewrite: {reason.value}"
        elif text and (last or text not in known):
            draft.rewrites[number] = text
        elif text:
            draft.problem = "its rewrite equals the passage or another rewrite"
        else:
            draft.problem = (
                "its rewrite is only a thought" if generation.num_thought else "its rewrite is empty"
            )


def _write_pairs(
    drafts: Sequence[_Draft], engine: Engine, settings: AugmentationConfig, tally: Counter[str]
) -> None:
    count = min(PAIRS_PER_REQUEST, settings.num_qa_pairs)
    by_bound: dict[int | None, list[_Ask]] = defaultdict(list)
    for draft in drafts:
        bound = STRING_BOUNDS[min(draft.cut_off, len(STRING_BOUNDS) - 1)]
        for number in range(-(-draft.missing_pairs // PAIRS_PER_REQUEST)):
            request = Request(draft.pairs_prompt, seed=draft.seed(settings, "pairs", number))
            by_bound[bound].append(_Ask(draft, number, request))
    for bound, asks in by_bound.items():
        schema = pairs_schema(count, bound)
        sampling = Sampling(settings.max_new_tokens, settings.temperature, settings.top_k, json_schema=schema)
        for ask, generation in _generate(asks, engine, sampling):
            _keep_pairs(ask.draft, generation, count, tally)


def _generate(asks: Sequence[_Ask], engine: Engine, sampling: Sampling) -> Iterator[tuple[_Ask, Generation]]:
    generations = engine.generate([ask.request for ask in asks], sampling) if asks else []
    return zip(asks, generations, strict=True)


def _keep_pairs(draft: _Draft, generation: Generation, count: int, tally: Counter[str]) -> None:
    try:
        pairs = parse_pairs(generation.text, count)
    except ValueError as error:
        cut = generation.finish == "length"
        draft.cut_off += cut
        draft.problem = (
            f"its pairs were cut off at {len(generation.token_ids)} tokens" if cut else f"its pairs: {error}"
        )
        return
    for pair in pairs:
        if not draft.missing_pairs:
            return
        reason = pair_problem(pair, draft.passage, draft.pairs)
        tally["pairs"] += 1
        if reason:
            tally[reason.value] += 1
        if reason and draft.dropping:
            draft.problem = f"a pair of it: {reason.value}"
        else:
            draft.pairs.setdefault(folded(pair.question), pair)


def _augmentation(draft: _Draft, generator: str) -> Augmentation:
    document, pairs = draft.document, tuple(draft.pairs.values())
    rewrites = tuple(filter(None, draft.rewrites))
    return Augmentation(document.doc_id, document.chunk, draft.content, rewrites, pairs, generator)


def _failure(draft: _Draft) -> Failure:
    written = sum(map(bool, draft.rewrites))
    reason = draft.too_long or (
        f"after {draft.attempts} attempts {written} of {len(draft.rewrites)} rewrites and {len(draft.pairs)} of "
        f"{draft.num_pairs} question-answer pairs; last: {draft.problem or 'its questions repeat'}"
    )
    return Failure(
        draft.document.doc_id, draft.document.chunk, draft.content, "augment", reason, draft.attempts
    )
