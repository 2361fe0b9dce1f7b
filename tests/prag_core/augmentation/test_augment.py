"""Augmentation against an engine that says what the test tells it to, and that remembers what it was asked."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from typing import Any

import jsonschema
import pytest

from prag_core.augmentation.augment import augment_documents, generator_identity
from prag_core.augmentation.published import pairs_schema, parse_pairs
from prag_core.augmentation.result import AugmentResult, Count
from prag_core.config.schema import AugmentationConfig, AugmentationMethod, Checks, PromptConfig
from prag_core.engines.base import Generation, Request, Sampling
from prag_core.identity import content_hash
from prag_core.models.prompts import QA, REWRITE
from prag_core.records import Document, Key, QAPair

RIVER = Document("river", "The Eltis is 718 km long and ends in the Grey Sea.", "Eltis")
TOWN = Document("town", "Novmere has a cathedral built in 1406.", "Novmere")
Speak = Callable[[str, Request, Sampling], str]


class ScriptedEngine:
    """Answers by `speak(prompt, request, sampling)`; a text that ends in "…" was cut off."""

    max_length = 4096

    def __init__(self, tokenizer: Any, speak: Speak) -> None:
        self.tokenizer, self.speak = tokenizer, speak
        self.calls: list[tuple[list[Request], Sampling]] = []

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[Generation]:
        self.calls.append((list(requests), sampling))
        texts = [self.speak(self.tokenizer.decode(list(r.token_ids)), r, sampling) for r in requests]
        return [
            Generation(text.rstrip("…"), (0,), "length" if text.endswith("…") else "stop") for text in texts
        ]

    def close(self) -> None: ...


def pair(question: str) -> dict[str, Any]:
    return {"question": question, "answer": "718 km", "full_answer": "It is 718 km long."}


def speak_well(prompt: str, request: Request, sampling: Sampling) -> str:
    """A rewrite, or three questions; all of them told apart by the seed."""
    if sampling.json_schema is None:
        return f"In other words {request.seed}."
    return json.dumps([pair(f"Question {request.seed} {i}?") for i in range(3)])


def augment(
    engine: ScriptedEngine,
    *documents: Document,
    with_title: bool = False,
    count: Count = lambda _: None,
    **settings: Any,
) -> AugmentResult:
    prompt = PromptConfig(with_title=with_title)
    return augment_documents(documents, engine, AugmentationConfig(**settings), prompt, "writer", count)


def rewrites_of(result: AugmentResult) -> list[tuple[str, ...]]:
    return [augmentation.rewrites for augmentation in result.augmentations]


def test_every_document_gets_its_rewrites_and_pairs_in_two_calls(tiny_tokenizer: Any) -> None:
    engine = ScriptedEngine(tiny_tokenizer, speak_well)
    result = augment(engine, RIVER, TOWN, num_rewrites=2)
    assert not result.failures
    assert [a.doc_id for a in result.augmentations] == ["river", "town"]
    for augmentation, document in zip(result.augmentations, (RIVER, TOWN), strict=True):
        assert (len(set(augmentation.rewrites)), len(augmentation.qa_pairs)) == (2, 3)
        assert (augmentation.content_hash, augmentation.generator) == (content_hash(document), "writer")
    assert [len(requests) for requests, _ in engine.calls] == [4, 2]
    assert all((s.max_new_tokens, s.temperature, s.top_k) == (512, 0.7, 50) for _, s in engine.calls)


def test_the_published_prompts_are_asked_over_the_text_alone_or_under_its_title(tiny_tokenizer: Any) -> None:
    for with_title, passage in ((False, RIVER.text), (True, f"Eltis\n{RIVER.text}")):
        engine = ScriptedEngine(tiny_tokenizer, speak_well)
        augment(engine, RIVER, with_title=with_title)
        asked = [tiny_tokenizer.decode(list(requests[0].token_ids)) for requests, _ in engine.calls]
        published = [REWRITE.format(passage=passage), QA.format(passage=passage, count="three")]
        assert all(f"user\n{text}<" in prompt for prompt, text in zip(asked, published, strict=True))


def test_a_document_is_written_about_alike_in_any_company(tiny_tokenizer: Any) -> None:
    alone = augment(ScriptedEngine(tiny_tokenizer, speak_well), TOWN)
    together = augment(ScriptedEngine(tiny_tokenizer, speak_well), RIVER, TOWN)
    assert together.augmentations[1] == alone.augmentations[0]
    reseeded = augment(ScriptedEngine(tiny_tokenizer, speak_well), TOWN, seed=1)
    assert reseeded.augmentations[0] != alone.augmentations[0]
    edited = augment(ScriptedEngine(tiny_tokenizer, speak_well), dataclasses.replace(TOWN, title="Other"))
    assert rewrites_of(edited) != rewrites_of(alone)


def test_what_is_unusable_is_asked_again_with_another_seed_and_only_that(tiny_tokenizer: Any) -> None:
    def stumble(prompt: str, request: Request, sampling: Sampling) -> str:
        first = sum(s.json_schema is not None for _, s in engine.calls) == 1
        return (
            "not JSON"
            if sampling.json_schema and first and "Novmere" in prompt
            else speak_well(prompt, request, sampling)
        )

    engine = ScriptedEngine(tiny_tokenizer, stumble)
    counted: list[list[Key]] = []
    result = augment(engine, RIVER, TOWN, count=lambda keys: counted.append(list(keys)))
    assert (len(result.augmentations), result.failures) == (2, [])
    assert [keys for keys in counted if keys] == [[RIVER.key], [TOWN.key]]
    first, second = (requests for requests, sampling in engine.calls if sampling.json_schema)
    assert len(second) == 1 and second[0].token_ids == first[1].token_ids and second[0].seed != first[1].seed
    assert sum(len(requests) for requests, sampling in engine.calls if not sampling.json_schema) == 2


def test_a_document_that_never_works_is_quarantined_with_the_reason_and_leaves_the_others(
    tiny_tokenizer: Any,
) -> None:
    def fail(prompt: str, request: Request, sampling: Sampling) -> str:
        return "{}" if sampling.json_schema and "Novmere" in prompt else speak_well(prompt, request, sampling)

    result = augment(ScriptedEngine(tiny_tokenizer, fail), RIVER, TOWN, max_attempts=3)
    assert [a.doc_id for a in result.augmentations] == ["river"]
    (failure,) = result.failures
    assert (failure.doc_id, failure.stage, failure.attempts) == ("town", "augment", 3)
    assert failure.content_hash == content_hash(TOWN)
    assert (
        "0 of 3 question-answer pairs" in failure.reason
        and "expected a JSON list, found dict" in failure.reason
    )


def test_a_document_too_long_for_the_context_is_quarantined_unasked(tiny_tokenizer: Any) -> None:
    long = Document("long", "word " * 1000)
    engine = ScriptedEngine(tiny_tokenizer, speak_well)
    result = augment(engine, RIVER, long)
    (failure,) = result.failures
    assert (failure.doc_id, failure.attempts) == ("long", 0)
    assert "512" in failure.reason and "4096" in failure.reason
    assert all(
        "word word" not in tiny_tokenizer.decode(list(r.token_ids))
        for requests, _ in engine.calls
        for r in requests
    )


def test_many_pairs_are_asked_three_at_a_time_until_enough_differ(tiny_tokenizer: Any) -> None:
    engine = ScriptedEngine(tiny_tokenizer, speak_well)
    (augmentation,) = augment(engine, RIVER, num_qa_pairs=7, num_rewrites=0).augmentations
    assert len({p.question for p in augmentation.qa_pairs}) == len(augmentation.qa_pairs) == 7
    ((requests, sampling),) = engine.calls
    assert len({request.seed for request in requests}) == len(requests) == 3
    assert sampling.json_schema == pairs_schema(3, None)


def test_repeated_questions_count_once_and_three_that_differ_are_enough_in_the_end(
    tiny_tokenizer: Any,
) -> None:
    def repeat(prompt: str, request: Request, sampling: Sampling) -> str:
        return json.dumps([pair("How long?"), pair("how  LONG"), pair(f"Which {len(engine.calls) % 2}?")])

    engine = ScriptedEngine(tiny_tokenizer, repeat)
    (augmentation,) = augment(engine, RIVER, num_qa_pairs=6, num_rewrites=0).augmentations
    assert [p.question for p in augmentation.qa_pairs] == ["How long?", "Which 1?", "Which 0?"]
    assert len(engine.calls) == 4
    result = augment(
        ScriptedEngine(tiny_tokenizer, lambda p, r, s: json.dumps([pair("How long?")])), RIVER, num_rewrites=0
    )
    assert not result.augmentations and "its questions repeat" in result.failures[0].reason


def test_cut_off_json_is_asked_again_with_ever_shorter_strings(tiny_tokenizer: Any) -> None:
    def ramble(prompt: str, request: Request, sampling: Sampling) -> str:
        return (
            '[{"question": "and on and on…'
            if len(engine.calls) < 4
            else speak_well(prompt, request, sampling)
        )

    engine = ScriptedEngine(tiny_tokenizer, ramble)
    assert not augment(engine, RIVER, num_rewrites=0).failures
    assert [sampling.json_schema for _, sampling in engine.calls] == [
        pairs_schema(3, b) for b in (None, 200, 80, 40)
    ]


def test_a_rewrite_that_was_only_a_thought_is_asked_again_and_told(tiny_tokenizer: Any) -> None:
    class Thinker(ScriptedEngine):
        def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[Generation]:
            if sampling.json_schema is not None:
                return super().generate(requests, sampling)
            self.calls.append((list(requests), sampling))
            return [Generation("", (), "length", num_thought=9) for _ in requests]

    engine = Thinker(tiny_tokenizer, speak_well)
    (failure,) = augment(engine, RIVER, num_rewrites=1, max_attempts=2).failures
    assert "its rewrite is only a thought" in failure.reason
    assert sum(sampling.json_schema is None for _, sampling in engine.calls) == 2


@pytest.mark.parametrize(
    ("texts", "kept"),
    [
        (["", "Other."], "Other."),
        ([RIVER.text, "Other."], "Other."),
        ([RIVER.text] * 4, RIVER.text),
        (["It ran and ran…"], "It ran and ran"),
        (["", "", "", ""], None),
    ],
)
def test_a_rewrite_is_never_empty_and_a_copy_only_for_want_of_better(
    tiny_tokenizer: Any, texts: list[str], kept: str | None
) -> None:
    answers = iter(texts)
    result = augment(ScriptedEngine(tiny_tokenizer, lambda p, r, s: next(answers)), RIVER, num_qa_pairs=0)
    assert rewrites_of(result) == ([] if kept is None else [(kept,)])
    assert [f.reason.split("last: ")[1] for f in result.failures] == (
        [] if kept else ["its rewrite is empty"]
    )


def test_nothing_asked_for_is_nothing_written(tiny_tokenizer: Any) -> None:
    engine = ScriptedEngine(tiny_tokenizer, speak_well)
    (augmentation,) = augment(engine, RIVER, num_rewrites=0, num_qa_pairs=0).augmentations
    assert (augmentation.rewrites, augmentation.qa_pairs, engine.calls) == ((), (), [])


def test_answers_of_other_types_become_text_as_in_the_reference() -> None:
    written: list[dict[str, Any]] = [
        {"question": "Which?", "answer": ["Alm", "Bro"], "full_answer": "Alm and Bro."},
        {"question": "How many?", "answer": 718, "full_answer": None},
        {"question": " Who? ", "answer": None},
        {"question": "Fourth?", "answer": "beyond the count", "full_answer": ""},
    ]
    assert parse_pairs(json.dumps(written), 3) == [
        QAPair("Which?", "Alm, Bro", "Alm and Bro."),
        QAPair("How many?", "718", "Unknown"),
        QAPair("Who?", "Unknown", "Unknown"),
    ]


def test_pairs_without_question_or_answer_are_left_out_and_text_stays_storable() -> None:
    written = '[{"question": "", "answer": "a"}, "stray", {"question": "Q\\ud800?", "answer": "line\nbreak"}]'
    assert parse_pairs(written, 3) == [QAPair("Q??", "line\nbreak", "line\nbreak")]
    for unusable in ("", "{}", "[]", '[{"question": "no answer"}]', '[{"question": "cut'):
        with pytest.raises(ValueError):
            parse_pairs(unusable, 3)


def test_parts_of_characters_are_not_stored(tiny_tokenizer: Any) -> None:
    broken = {"question": "\ufffdየት?", "answer": "አበባ\ufffd\ufffd", "full_answer": "በ\ufffd አበባ"}
    answers = {True: "አዲስ \ufffdአበባ\ufffd", False: json.dumps([broken])}
    engine = ScriptedEngine(tiny_tokenizer, lambda p, r, s: answers[s.json_schema is None])
    (augmentation,) = augment(engine, RIVER, num_qa_pairs=1).augmentations
    assert augmentation.rewrites == ("አዲስ አበባ",)
    assert augmentation.qa_pairs == (QAPair("የት?", "አበባ", "በ አበባ"),)


def test_the_schema_takes_exactly_what_is_asked_for() -> None:
    for bound in (None, 40):
        schema = pairs_schema(3, bound)
        jsonschema.validate([pair("How long?")] * 3, schema)
        for wrong in (
            [pair("How long?")] * 2,
            [{"question": "no answer"}] * 3,
            [pair("How long?") | {"more": ""}] * 3,
        ):
            with pytest.raises(jsonschema.ValidationError):
                jsonschema.validate(wrong, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate([pair("x" * 41)] * 3, pairs_schema(3, 40))


def test_the_generator_changes_with_what_is_written_and_with_nothing_else() -> None:
    base = generator_identity("model", AugmentationConfig())
    assert (
        generator_identity("model", AugmentationConfig(max_attempts=9, uri="elsewhere", model="path")) == base
    )
    for other in (
        AugmentationConfig(seed=1),
        AugmentationConfig(temperature=0.1),
        AugmentationConfig(num_qa_pairs=6),
    ):
        assert generator_identity("model", other) != base
    assert generator_identity("another", AugmentationConfig()) != base


def copy_the_example(prompt: str, request: Request, sampling: Sampling) -> str:
    if sampling.json_schema is None:
        return "In other words."
    example = {"question": "What is the capital of France?", "answer": "Paris", "full_answer": "Paris."}
    return json.dumps([example, pair(f"Question {request.seed}?"), pair("A statement")])


def test_the_reference_counts_what_is_wrong_and_keeps_it(tiny_tokenizer: Any) -> None:
    result = augment(ScriptedEngine(tiny_tokenizer, copy_the_example), RIVER)
    assert [p.answer for p in result.augmentations[0].qa_pairs] == ["Paris", "718 km", "718 km"]
    assert {name: result.tally[name] for name in ("pairs", "copied_example", "not_a_question")} == {
        "pairs": 3,
        "copied_example": 1,
        "not_a_question": 1,
    }


def test_what_is_wrong_is_asked_again_and_then_dropped_where_the_settings_say_so(tiny_tokenizer: Any) -> None:
    engine = ScriptedEngine(tiny_tokenizer, copy_the_example)
    result = augment(engine, RIVER, checks=Checks.drop, max_attempts=2, num_rewrites=0)
    questions = [p.question for p in result.augmentations[0].qa_pairs]
    assert len(questions) == 2 and all(question.startswith("Question ") for question in questions)
    assert result.tally["copied_example"] == 2 and len(engine.calls) == 2


def test_a_document_none_of_whose_pairs_passes_is_quarantined_and_a_bad_rewrite_left_out(
    tiny_tokenizer: Any,
) -> None:
    def useless(prompt: str, request: Request, sampling: Sampling) -> str:
        if sampling.json_schema is None:
            return "\u0440\u0435\u043a\u0430 " * 5
        town = "Novmere" in prompt
        return json.dumps(
            [pair("When was it built?") | ({"answer": "1406"} if town else {"answer": "1900"})] * 3
        )

    engine = ScriptedEngine(tiny_tokenizer, useless)
    result = augment(engine, RIVER, TOWN, checks=Checks.drop, max_attempts=2)
    assert [failure.doc_id for failure in result.failures] == ["river"]
    assert "not_in_passage" in result.failures[0].reason
    (kept,) = result.augmentations
    assert (kept.doc_id, kept.rewrites, len(kept.qa_pairs)) == ("town", (), 1)
    assert result.tally["rewrite_in_other_script"] == 4


def test_checks_and_method_name_the_writer_only_where_they_are_not_the_published_ones() -> None:
    base = generator_identity("model", AugmentationConfig())
    assert generator_identity("model", AugmentationConfig(echo_questions=False)) == base
    others = [
        AugmentationConfig(checks=Checks.drop),
        AugmentationConfig(method=AugmentationMethod.answer_first),
        AugmentationConfig(method=AugmentationMethod.answer_first, echo_questions=False),
    ]
    assert len({base, *(generator_identity("model", other) for other in others)}) == 4
