"""Answers first, then their questions, against an engine that says what the test tells it to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from prag_core.augmentation.augment import augment_documents
from prag_core.augmentation.result import AugmentResult, Count
from prag_core.config.schema import AugmentationConfig, AugmentationMethod, PromptConfig
from prag_core.engines.base import Generation, Request, Sampling
from prag_core.identity import content_hash
from prag_core.records import Document, Key

TELEPHONE = "The agency charges 17 euros for a booking by telephone."
FERRY = Document("ferry", "The ferry sails at most 12 knots in fog.", "The Saltry ferry")
AGENCY = Document("agency", f"{TELEPHONE} Its office is closed on Sundays.", "Oriel Journeys")
NOTHING = Document("nothing", "So be it.", "Nothing")


class Completing:
    """Goes on with prompts: `turn` writes questions, `read` answers them."""

    max_length = 4096

    def __init__(self, tokenizer: Any, turn: Callable[[str], str], read: Callable[[str], str]) -> None:
        self.tokenizer, self.turn, self.read = tokenizer, turn, read
        self.calls: list[tuple[list[Request], Sampling]] = []

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[Generation]:
        self.calls.append((list(requests), sampling))
        prompts = [self.tokenizer.decode(list(r.token_ids), skip_special_tokens=True) for r in requests]
        lasts = [prompt.rpartition("\n\n")[2] for prompt in prompts]
        texts = [self.read(last) if last.endswith("Answer:") else self.turn(last) for last in lasts]
        return [Generation(text, (0,), "stop") for text in texts]

    def close(self) -> None: ...


def turn_well(prompt: str) -> str:
    return (
        " does the agency charge for a booking by telephone"
        if "17" in prompt or "telephone" in prompt
        else " is it"
    )


def read_well(prompt: str) -> str:
    return "17 euros"


def augment(
    engine: Completing, *documents: Document, count: Count = lambda _: None, **settings: Any
) -> AugmentResult:
    few = AugmentationConfig(
        method=AugmentationMethod.answer_first, num_rewrites=0, max_attempts=1, num_qa_pairs=9
    )
    return augment_documents(documents, engine, replace(few, **settings), PromptConfig(), "writer", count)


def questions(result: AugmentResult) -> dict[str, str]:
    (augmentation,) = result.augmentations
    return {pair.answer: pair.question for pair in augmentation.qa_pairs}


def test_a_question_that_brings_its_answer_back_is_kept_with_its_sentence(tiny_tokenizer: Any) -> None:
    result = augment(Completing(tiny_tokenizer, turn_well, read_well), AGENCY, echo_questions=False)
    (augmentation,) = result.augmentations
    (pair,) = augmentation.qa_pairs
    assert (
        pair.question == "Oriel Journeys: How many euros does the agency charge for a booking by telephone?"
    )
    assert (pair.answer, pair.full_answer) == ("17 euros", TELEPHONE)
    assert (augmentation.content_hash, augmentation.generator) == (content_hash(AGENCY), "writer")


def test_one_whose_answer_does_not_come_back_is_asked_by_its_sentence_or_left_out(
    tiny_tokenizer: Any,
) -> None:
    def wrong(prompt: str) -> str:
        return "70 euros"

    echoed = questions(augment(Completing(tiny_tokenizer, turn_well, wrong), AGENCY))
    assert (
        echoed["17 euros"] == "Oriel Journeys: The agency charges how many euros for a booking by telephone?"
    )
    without = augment(Completing(tiny_tokenizer, turn_well, wrong), AGENCY, echo_questions=False)
    assert not without.augmentations and without.tally["answered_otherwise"] == 1
    assert without.failures[0].doc_id == "agency" and "none of its" in without.failures[0].reason


def test_a_question_about_something_else_is_not_asked_back(tiny_tokenizer: Any) -> None:
    engine = Completing(tiny_tokenizer, lambda prompt: " plates did the bakery break in winter", read_well)
    result = augment(engine, FERRY)
    assert len(engine.calls) == 1 and result.tally["about_something_else"] == len(questions(result))


def test_rejected_questions_are_drawn_anew_and_only_those(tiny_tokenizer: Any) -> None:
    engine = Completing(tiny_tokenizer, turn_well, read_well)
    augment(engine, AGENCY, max_attempts=2)
    turns = [(requests, s) for requests, s in engine.calls if s.max_new_tokens == 32]
    assert [s.temperature for _, s in turns] == [0.0, 0.7]
    assert len(turns[1][0]) == len(turns[0][0]) - 1
    assert len({r.seed for requests, _ in turns for r in requests}) == sum(
        len(requests) for requests, _ in turns
    )


def test_a_document_is_counted_when_each_of_its_answers_has_a_question(tiny_tokenizer: Any) -> None:
    counted: list[Key] = []
    engine = Completing(tiny_tokenizer, turn_well, read_well)
    augment(engine, AGENCY, count=counted.extend)
    assert counted == []
    augment(engine, AGENCY, num_qa_pairs=1, count=counted.extend)
    assert counted == [AGENCY.key]


def test_all_documents_go_to_the_engine_together_and_none_depends_on_another(tiny_tokenizer: Any) -> None:
    engine = Completing(tiny_tokenizer, turn_well, read_well)
    together = augment(engine, FERRY, AGENCY)
    alone = augment(Completing(tiny_tokenizer, turn_well, read_well), AGENCY)
    assert together.augmentations[1] == alone.augmentations[0]
    assert len(engine.calls) == 2


def test_there_are_at_most_as_many_pairs_as_the_settings_say_and_no_question_twice(
    tiny_tokenizer: Any,
) -> None:
    pairs = (
        augment(Completing(tiny_tokenizer, turn_well, read_well), AGENCY, num_qa_pairs=2)
        .augmentations[0]
        .qa_pairs
    )
    assert len(pairs) == 2
    every = augment(Completing(tiny_tokenizer, turn_well, read_well), AGENCY).augmentations[0].qa_pairs
    assert len({pair.question for pair in every}) == len(every)


def test_a_text_without_answers_is_quarantined_with_the_reason(tiny_tokenizer: Any) -> None:
    result = augment(Completing(tiny_tokenizer, turn_well, read_well), NOTHING, AGENCY)
    assert [failure.doc_id for failure in result.failures] == ["nothing"]
    assert "no number, name or phrase" in result.failures[0].reason
    assert [augmentation.doc_id for augmentation in result.augmentations] == ["agency"]


def test_rewrites_are_the_published_methods(tiny_tokenizer: Any) -> None:
    engine = Completing(tiny_tokenizer, turn_well, read_well)
    result = augment(engine, AGENCY, num_rewrites=2, max_new_tokens=99)
    assert len(engine.calls[0][0]) == 2 and engine.calls[0][1].max_new_tokens == 99
    assert len(result.augmentations[0].rewrites) == 2
