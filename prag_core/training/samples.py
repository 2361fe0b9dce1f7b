"""The samples that one document's adapter is trained on, made from its augmentation, in their order.

The published order: for the first ceil(m/2) of the m question-answer pairs, the question over the original passage,
then over each rewrite; for the remaining pairs, the question without any passage. Never shuffled. The loss is on every
token (that is how the passage's own text is learned), and no end-of-sequence token is appended. Nothing is ever cut: a
sample longer than the model's context is refused.

An augmentation without pairs (the ablation "without QA", `augmentation.num_qa_pairs=0`) is language modelling: the passage
and each rewrite as a text of its own, outside any prompt, after what the tokenizer puts before a text.

`repeat_without_passage` (an extension, off in the reference recipe) asks the first half of the pairs once more without a
passage, so that every fact that was asked is also asked of the parameters alone.

Replay samples (an extension, off in the reference recipe) are questions about other subjects, which teach an adapter to
speak only for its own, and to leave reading alone. Their loss is on the answer, the only thing they are to teach. They are
spread evenly among the document's own samples, so that neither comes last as a block.

The objective `answer` (an extension) asks every pair once, without any passage, and its loss is on the answer: nothing of a
step is spent on how questions are worded, and rewrites are not read.

For distillation a sample also carries what its teacher, the frozen model, reads. Each pair is asked without a passage, once
for each context of the teacher's: the original, then each rewrite. Replay samples have the same context as their teacher,
and those over passages are asked once more without: there, too, the adapter is to change nothing, and no right answer is
needed to say so. All losses are on the answers. The first sample is the document's own, because an adapter that does nothing
yet agrees with the teacher of a replay sample: what gradient there is would be rounding error.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, takewhile
from typing import Any, TypeVar

from prag_core.config.schema import PromptConfig
from prag_core.errors import ConfigError, CorpusError
from prag_core.models.control_tokens import encode_text
from prag_core.models.prompts import (
    answer_messages,
    answer_prefill,
    encode,
    encode_prefill,
    show_passage,
)
from prag_core.questions.examples import Example, ReplaySample
from prag_core.records import IGNORED, Augmentation, Document, QAPair, Sample

T = TypeVar("T")


class SampleTooLongError(CorpusError):
    """A training sample exceeds the model's context; the message has doc_id, its tokens and the limit."""


def build_samples(
    document: Document,
    augmentation: Augmentation,
    tokenizer: Any,
    prompt: PromptConfig,
    *,
    max_length: int,
    fewshot: Sequence[Example] = (),
    replay: Sequence[ReplaySample] = (),
    repeat_without_passage: bool = False,
    objective: str = "next_token",
) -> list[Sample]:
    """Build one epoch of a document, in order. Answers are `answer`, or `full_answer` with `prompt.cot`. Samples of `distill`
    carry a teacher. `repeat_without_passage` is of `next_token` alone: the others ask no question of the document's own over it.

    Raises SampleTooLongError where a sample, or what its teacher reads, has more than `max_length` tokens, and CorpusError
    where a text has too few to learn from, or the objective needs pairs and there are none.
    """
    assert document.key == augmentation.key, f"augmentation of {augmentation.key} given for {document.key}"
    encoder = _Encoder(document, tokenizer, prompt, tuple(fewshot), max_length)
    texts = [
        show_passage(document.title, text, with_title=prompt.with_title)
        for text in (document.text, *augmentation.rewrites)
    ]
    pairs = [(pair.question, _answer(pair, prompt.cot)) for pair in augmentation.qa_pairs]
    if objective != "next_token" and not pairs:
        raise CorpusError(
            f"{encoder.where}: its augmentation has no question-answer pair, and training.objective={objective} needs some"
        )
    if objective == "distill":
        return _distilled(encoder, pairs, texts, replay)
    if objective == "answer":
        own = [encoder.answer_only(*pair, ()) for pair in pairs]
    elif pairs:
        own = [encoder.whole(*asked) for asked in _questions(pairs, texts, repeat_without_passage)]
    else:
        own = [encoder.plain(text) for text in texts]
    return interleave(own, [encoder.answer_only(r.question, r.answer, r.passages) for r in replay])


def _distilled(
    encoder: _Encoder, pairs: Sequence[tuple[str, str]], texts: Sequence[str], replay: Sequence[ReplaySample]
) -> list[Sample]:
    first, *rest = [encoder.answer_only(*pair, (), teacher=(text,)) for text in texts for pair in pairs]
    asked = [(r, passages) for r in replay for passages in dict.fromkeys(((), r.passages))]
    others = [encoder.answer_only(r.question, r.answer, passages, teacher=passages) for r, passages in asked]
    return [first, *interleave(rest, sorted(others, key=lambda sample: len(sample.token_ids)))]


def _questions(
    pairs: Sequence[tuple[str, str]], texts: Sequence[str], repeat_without_passage: bool
) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yield question, answer and passages of each of the document's own samples, in the published order."""
    with_passage = (len(pairs) + 1) // 2
    for index, (question, answer) in enumerate(pairs):
        contexts: list[tuple[str, ...]] = [(text,) for text in texts] if index < with_passage else []
        if index >= with_passage or repeat_without_passage:
            contexts.append(())
        for passages in contexts:
            yield question, answer, passages


def _answer(pair: QAPair, cot: bool) -> str:
    return pair.full_answer if cot else pair.answer


@dataclass(frozen=True)
class _Encoder:
    """Encoder of questions, about one document or beside it, as samples of at most `max_length` tokens."""

    document: Document
    tokenizer: Any
    prompt: PromptConfig
    fewshot: tuple[Example, ...]
    max_length: int

    def whole(self, question: str, answer: str, passages: Sequence[str]) -> Sample:
        """Make a sample whose loss is on every token."""
        tokens = self._tokens(question, answer, passages)
        return Sample(token_ids=tokens, labels=tokens)

    def answer_only(
        self, question: str, answer: str, passages: Sequence[str], *, teacher: Sequence[str] | None = None
    ) -> Sample:
        """Make a sample whose loss is on the answer; `teacher`, if given, are the passages that the frozen model reads."""
        tokens = self._tokens(question, answer, passages)
        asked = (*self._encode(question, passages), *encode_prefill(self.tokenizer, self.prompt))
        start = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(asked, tokens, strict=False)))
        read = () if teacher is None else self._tokens(question, answer, teacher)
        return Sample(token_ids=tokens, labels=(IGNORED,) * start + tokens[start:], teacher_ids=read)

    def plain(self, text: str) -> Sample:
        """Make a sample of a text outside any prompt; the loss is on every token."""
        tokens = self._checked(tuple(encode_text(self.tokenizer, text, add_special_tokens=True)))
        return Sample(token_ids=tokens, labels=tokens)

    @property
    def where(self) -> str:
        return f"{self.document.doc_id!r} chunk {self.document.chunk}"

    def _tokens(self, question: str, answer: str, passages: Sequence[str]) -> tuple[int, ...]:
        return self._checked(self._encode(question, passages, answer_prefill(answer, cot=self.prompt.cot)))

    def _checked(self, tokens: tuple[int, ...]) -> tuple[int, ...]:
        if len(tokens) > self.max_length:
            raise SampleTooLongError(
                f"{self.where}: a training sample has {len(tokens)} tokens, the limit is {self.max_length}; "
                "set corpus.long_documents=chunk, or use a model with a longer context"
            )
        if len(tokens) < 2:
            raise CorpusError(f"{self.where}: one of its texts has no token after the first")
        return tokens

    def _encode(self, question: str, passages: Sequence[str], prefill: str = "") -> tuple[int, ...]:
        messages = answer_messages(question, passages, cot=self.prompt.cot, fewshot=self.fewshot)
        return tuple(encode(self.tokenizer, messages, prefill))


def interleave(own: Sequence[T], others: Sequence[T]) -> list[T]:
    """Merge two lists, each in its own order and spread evenly over the whole: own ab and others wxyz give waxybz."""
    places = chain(
        (((i + 0.5) / len(own), 0, i) for i in range(len(own))),
        (((i + 0.5) / len(others), 1, i) for i in range(len(others))),
    )
    return [(own, others)[which][i] for _, which, i in sorted(places)]


def choose_replay(pool: Sequence[ReplaySample], num: int, seed: int, content_hash: str) -> list[ReplaySample]:
    """Draw `num` samples of the pool, by a document's wording and the seed alone: a document's neighbours and the order of work
    change nothing. The pool's subjects must not be the corpus's. Short ones come first, so that documents trained together have
    samples of like length at every step."""
    if num > len(pool):
        raise ConfigError(
            f"training.replay_samples={num}: the pool of training.replay_uri has only {len(pool)} samples"
        )
    chosen = random.Random(f"{seed}:{content_hash}").sample(list(pool), num)
    return sorted(chosen, key=lambda sample: sum(map(len, sample.passages)))
