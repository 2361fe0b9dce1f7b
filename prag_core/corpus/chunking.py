"""The longest passage that a model can take, and the chunks of longer documents. No text is ever left out.

A passage must fit the model's context together with the longest prompt it appears in and what is written after it
(`augmentation.max_new_tokens`, which also covers the question and answer of a training sample). A document that does not
fit is either left whole (the augment stage then quarantines it with the reason) or becomes chunks: overlapping pieces
of its text, cut at white space where there is some, which together cover all of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from prag_core.config.schema import AugmentationConfig, CorpusConfig, LongDocuments, PromptConfig
from prag_core.corpus.cutting import TokenPlaces, chunk_text
from prag_core.errors import ConfigError, ModelError
from prag_core.models.control_tokens import encode_text
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
CLEARLY_LONG_CHARACTERS = 16  # for each token that fits; text has about 4 a token


@dataclass(frozen=True)
class TokenBudget:
    """The most tokens of one model's tokenizer that a passage may have. `overhead`: tokens of the longest prompt around it."""

    tokenizer: Any
    max_tokens: int
    overhead: int

    def count(self, text: str) -> int:
        """Its tokens as training encodes it: control tokens in it are plain text."""
        return len(encode_text(self.tokenizer, text))

    def holds(self, text: str) -> bool:
        """Whether the text fits, by its tokens.

        Clearly short or long texts need no tokenisation of all of it: a byte-level tokenizer makes at most a token a byte, and a
        beginning with twice the tokens settles it.
        """
        if len(text.encode()) <= self.max_tokens:
            return True
        beginning = text[: CLEARLY_LONG_CHARACTERS * self.max_tokens]
        if len(beginning) < len(text) and self.count(beginning) > 2 * self.max_tokens:
            return False
        return self.count(text) <= self.max_tokens


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
    """The budget of a passage under a model with a context of `max_length` tokens. Raises ModelError if prompts leave no room."""
    question = answer_messages("", [""], cot=prompt.cot, fewshot=tuple(fewshot))
    overhead = BOUNDARY_TOKENS + max(
        len(encode(tokenizer, question, answer_prefill(cot=prompt.cot))),
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
    """Yield the documents, long ones as chunks if `corpus.long_documents` is chunk. One with too long a title stays whole."""
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
    title = show_passage(document.title, "\n", with_title=limit.with_title)
    if not all(budget.count(title) <= budget.max_tokens // 2 for budget in limit.budgets):
        return [document]
    title_only, text = replace(document, text=""), document.text
    tokens = [
        (TokenPlaces.of(budget.tokenizer, text), budget.max_tokens - budget.count(title))
        for budget in limit.budgets
    ]
    texts = chunk_text(
        text,
        fits=lambda piece: limit.holds(replace(title_only, text=piece)),
        overlaps=lambda piece: first.count(piece) <= overlap,
        guess_end=lambda start: min(places.end_of(start, room) for places, room in tokens),
        guess_overlap=lambda end: tokens[0][0].start_of(end, overlap),
    )
    return [replace(document, text=text, chunk=chunk) for chunk, text in enumerate(texts)]
