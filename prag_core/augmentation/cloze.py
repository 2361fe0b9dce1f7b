"""Pairs without a writer: each answer's question is its sentence with a blank in the answer's place (a cloze).

Right by construction, in the passage's own words, and free: no model is asked unless rewrites are wanted. For models that
cannot write a question worth learning (docs/augmentation.md compares them; docs/real.md has what adapters make of each).
Source of the form: Taylor, 1953; for questions out of passages: Lewis et al., ACL 2019.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from prag_core.augmentation.published import write_published
from prag_core.augmentation.result import AugmentResult, Count
from prag_core.augmentation.spans import NO_SPANS, Span, choose_spans
from prag_core.config.schema import AugmentationConfig, PromptConfig
from prag_core.engines.base import Engine
from prag_core.records import Augmentation, Document, Failure, QAPair

BLANK = "___"


def write_cloze(
    documents: Sequence[Document],
    engine: Engine,
    settings: AugmentationConfig,
    prompt: PromptConfig,
    generator: str,
    count: Count,
) -> AugmentResult:
    """Make at most `num_qa_pairs` pairs of each document's own sentences; rewrites are the published method's. A document in
    which nothing can be an answer is quarantined. Raises what the engine raises."""
    rewritten = write_published(documents, engine, replace(settings, num_qa_pairs=0), prompt, generator)
    if not settings.num_qa_pairs:
        return rewritten
    texts = {document.key: document.text for document in documents}
    made = [
        _pairs(choose_spans(texts[augmentation.key], settings.num_qa_pairs)) or _nothing_to_ask(augmentation)
        for augmentation in rewritten.augmentations
    ]
    count(texts)
    return rewritten.with_pairs(made, documents)


def cloze(span: Span) -> str:
    """Return the span's sentence with a blank in its place, after the question that the sentence answers, if any."""
    sentence = f"{span.sentence[: span.start]}{BLANK}{span.sentence[span.end :]}".rstrip(" .!:;,")
    return " ".join(f"{span.lead} {sentence}".split())


def _pairs(spans: Sequence[Span]) -> list[QAPair]:
    return [QAPair(cloze(span), span.text, span.sentence) for span in spans]


def _nothing_to_ask(augmentation: Augmentation) -> Failure:
    return Failure(*augmentation.key, augmentation.content_hash, "augment", NO_SPANS, attempts=1)
