"""Pairs without a writer: the engine is one that may not be asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from prag_core.augmentation.augment import augment_documents, generator_identity
from prag_core.augmentation.cloze import BLANK
from prag_core.augmentation.result import AugmentResult
from prag_core.config.schema import AugmentationConfig, AugmentationMethod, PromptConfig
from prag_core.identity import content_hash
from prag_core.records import Document

AGENCY = Document(
    "agency",
    "The agency charges 17 euros for a booking by telephone. Is it open? It is, until noon on Sundays.",
)
NOTHING = Document("nothing", "So be it.")


class Silent:
    """An engine that nothing may be asked of."""

    max_length = 4096

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def generate(self, *_: Any) -> Any:
        pytest.fail("the engine was asked")

    def close(self) -> None: ...


def augment(tokenizer: Any, documents: Sequence[Document], pairs: int) -> AugmentResult:
    settings = AugmentationConfig(method=AugmentationMethod.cloze, num_rewrites=0, num_qa_pairs=pairs)
    return augment_documents(documents, Silent(tokenizer), settings, PromptConfig(), "writer")


def test_a_question_is_its_sentence_with_a_blank_which_the_answer_fills(tiny_tokenizer: Any) -> None:
    (found,) = augment(tiny_tokenizer, [AGENCY], 9).augmentations
    assert (found.key, found.content_hash, found.generator) == (AGENCY.key, content_hash(AGENCY), "writer")
    assert ("The agency charges ___ for a booking by telephone", "17 euros") in {
        (pair.question, pair.answer) for pair in found.qa_pairs
    }
    for pair in found.qa_pairs:
        asked = pair.question.removeprefix("Is it open? ")
        assert asked.count(BLANK) == 1 and f"{asked.replace(BLANK, pair.answer)}." == pair.full_answer
        assert pair.full_answer in AGENCY.text
    assert any(pair.question.startswith("Is it open? It is, until") for pair in found.qa_pairs)


def test_at_most_as_many_pairs_as_wanted_and_none_are_plain_text(tiny_tokenizer: Any) -> None:
    (two,) = augment(tiny_tokenizer, [AGENCY], 2).augmentations
    (none,) = augment(tiny_tokenizer, [AGENCY], 0).augmentations
    assert len(two.qa_pairs) == 2 and none.qa_pairs == ()


def test_a_document_without_anything_to_ask_is_quarantined_and_the_rest_go_on(tiny_tokenizer: Any) -> None:
    result = augment(tiny_tokenizer, [NOTHING, AGENCY], 9)
    assert [found.doc_id for found in result.augmentations] == ["agency"]
    (failure,) = result.failures
    assert (failure.doc_id, failure.stage) == ("nothing", "augment") and "no number, name" in failure.reason


def test_its_pairs_are_another_writers() -> None:
    cloze = AugmentationConfig(method=AugmentationMethod.cloze)
    assert generator_identity("model", cloze) != generator_identity("model", AugmentationConfig())
