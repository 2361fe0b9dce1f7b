"""How long a passage may be, and how a longer document becomes chunks. Nothing is ever cut away.

A passage must fit the model's context together with the longest prompt it appears in and what is written after it
(`augmentation.max_new_tokens`, which also covers the question and answer of a training sample). A document that does not
fit is either left whole (the augment stage then sets it aside with the reason) or becomes chunks: overlapping pieces
of its text, cut at white space where there is some, which together cover all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from prag_core.config.schema import AugmentationConfig, CorpusConfig, LongDocuments, PromptConfig
from prag_core.errors import ConfigError, ModelError
from prag_core.models.prompts import (
    answer_messages,
    answer_prefill,
    encode,
    qa_messages,
    rewrite_messages,
    show_passage,
)
from prag_core.records import Document

BOUNDARY_TOKENS = 8  # a passage may take a few tokens more inside a prompt than alone
Predicate = Callable[[str], bool]


@dataclass(frozen=True)
class TokenBudget:
    """How many tokens of one model's tokenizer a passage may have; `overhead` is what its longest prompt has besides."""

    tokenizer: Any
    max_tokens: int
    overhead: int

    def count(self, text: str) -> int:
        return len(self.tokenizer.encode(text, add_special_tokens=False))

    def holds(self, text: str) -> bool:
        """Exact, but cheap for short texts: a byte-level tokenizer makes at most a token a byte."""
        return len(text.encode()) <= self.max_tokens or self.count(text) <= self.max_tokens


@dataclass(frozen=True)
class PassageLimit:
    """The budgets of every model that reads the passage; the first is the model that is trained."""

    budgets: tuple[TokenBudget, ...]
    with_title: bool = False

    def holds(self, document: Document) -> bool:
        shown = show_passage(document.title, document.text, with_title=self.with_title)
        return all(budget.holds(shown) for budget in self.budgets)


def token_budget(
    tokenizer: Any,
    max_length: int,
    prompt: PromptConfig,
    augmentation: AugmentationConfig,
    fewshot: Iterable[tuple[str, str]] = (),
) -> TokenBudget:
    """The budget of a passage under a model with a context of `max_length` tokens. ModelError if nothing is left for it."""
    asked = answer_messages("", [""], cot=prompt.cot, fewshot=tuple(fewshot))
    overhead = BOUNDARY_TOKENS + max(
        len(encode(tokenizer, asked, answer_prefill(cot=prompt.cot))),
        len(encode(tokenizer, rewrite_messages(""))),
        len(encode(tokenizer, qa_messages("", augmentation.num_qa_pairs))),
    )
    max_tokens = max_length - overhead - augmentation.max_new_tokens
    if max_tokens < 1:
        raise ModelError(
            f"the model's context of {max_length} tokens leaves no room for a passage: prompts take {overhead}, "
            f"augmentation.max_new_tokens={augmentation.max_new_tokens}; lower that, or use a model with a longer context"
        )
    return TokenBudget(tokenizer, max_tokens, overhead)


def split_long(
    documents: Iterable[Document], limit: PassageLimit, corpus: CorpusConfig
) -> Iterator[Document]:
    """The documents, long ones as chunks where `corpus.long_documents` says so; one that its title alone fills stays whole."""
    for document in documents:
        if corpus.long_documents is LongDocuments.chunk and not limit.holds(document):
            yield from chunk_document(document, limit, corpus.chunk_overlap)
        else:
            yield document


def chunk_document(document: Document, limit: PassageLimit, overlap: int) -> list[Document]:
    """Chunks 0, 1, 2, … of a document, each within the limit, sharing `overlap` tokens with the next."""
    first = limit.budgets[0]
    if overlap < 0 or overlap > first.max_tokens // 2:
        raise ConfigError(
            f"corpus.chunk_overlap={overlap}: expected 0 to {first.max_tokens // 2}, half of what a chunk can hold"
        )
    title_only = replace(document, text="")
    if not all(
        b.count(show_passage(document.title, "\n", with_title=limit.with_title)) <= b.max_tokens // 2
        for b in limit.budgets
    ):
        return [document]
    texts = chunk_text(
        document.text,
        lambda text: limit.holds(replace(title_only, text=text)),
        lambda text: first.count(text) <= overlap,
    )
    return [replace(document, text=text, chunk=chunk) for chunk, text in enumerate(texts)]


def chunk_text(text: str, fits: Predicate, overlaps: Predicate) -> list[str]:
    """Cut a text into the longest pieces that `fits` accepts; each begins where the last so much of the one before
    begins that `overlaps` accepts. Blank pieces are left out; all else is in some piece."""
    chunks, start = [], 0
    while start < len(text):
        end = _at_word_end(text, start, _reach(text, start, fits))
        if text[start:end].strip():
            chunks.append(text[start:end])
        if end == len(text):
            break
        start = _at_word_start(text, _reach_back(text, start + 1, end, overlaps), end)
    return chunks


def _reach(text: str, start: int, accepts: Predicate) -> int:
    """The end of the longest accepted piece that begins at `start`; of one character if need be."""

    def accepts_length(length: int) -> bool:
        return accepts(text[start : start + length])

    return start + max(1, _longest(len(text) - start, accepts_length))


def _reach_back(text: str, start: int, end: int, accepts: Predicate) -> int:
    """The beginning, not before `start`, of the longest accepted piece that ends at `end`."""

    def accepts_length(length: int) -> bool:
        return accepts(text[end - length : end])

    return end - _longest(end - start, accepts_length)


def _longest(available: int, accepts: Callable[[int], bool]) -> int:
    """The greatest length ≤ available that is accepted, by doubling and bisection (as if all less were too)."""
    low, high = 0, 64
    while high < available and accepts(high):
        low, high = high, high * 2
    high = min(high, available)
    if high > low and accepts(high):
        return high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if accepts(middle) else (low, middle)
    return low


def _at_word_end(text: str, start: int, end: int) -> int:
    """`end`, moved back behind white space, but over at most half the piece."""
    if end == len(text):
        return end
    return next((i for i in range(end, (start + end) // 2, -1) if text[i - 1].isspace()), end)


def _at_word_start(text: str, start: int, end: int) -> int:
    """`start`, moved on to the first word that begins at or after it, or left where it is if none begins before `end`."""
    return next((i for i in range(start, end) if text[i - 1 : i].isspace() and not text[i].isspace()), start)
