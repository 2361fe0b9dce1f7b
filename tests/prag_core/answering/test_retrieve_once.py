"""Each method shows the model what its name says: text, adapters, both, or neither."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from prag_core.answering.registry import Tools, find_method
from prag_core.config.schema import MergeConfig, PromptConfig
from prag_core.engines.base import Generation, Request, Sampling
from prag_core.merging import Versioned, merge_adapters, merge_cat
from prag_core.models.lora import AdapterLayout, ModuleShape
from prag_core.models.prompts import answer_messages, answer_prefill, encode
from prag_core.records import Passage, Question
from tests.prag_core.answering.stand_ins import PASSAGES, SixDocuments, make_factors, version_of

LAYOUT = AdapterLayout((ModuleShape("m", 3, 4),), rank=2, alpha=32.0)
QUESTIONS = [
    Question("q1", "Where was Ada born", ("Rome",), ("d4",)),
    Question("q2", "Who wrote Iris?", ("Bo",), ("d0",)),
]


class RecordingEngine:
    """Keeps what it was asked; every text is the request's place."""

    max_length = 4096

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer, self.requests = tokenizer, list[Request]()

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[Generation]:
        assert sampling.temperature == 0.0
        self.requests = list(requests)
        return [Generation(f"answer {i}", (), "stop") for i in range(len(requests))]

    def close(self) -> None: ...


class Retriever(SixDocuments):
    """Retrieves d0, d1, d2 for everything; d1's adapter is missing."""

    def search(self, questions: Sequence[str], k: int) -> list[list[Passage]]:
        return [[PASSAGES[f"d{i}"] for i in range(k)] for _ in questions]

    def irrelevant(self, question: Question, retrieved: Sequence[Passage], k: int) -> list[Passage]:
        return [PASSAGES["d3"], PASSAGES["d5"]]

    def gold(self, question: Question) -> list[Passage]:
        return [PASSAGES[doc_id] for doc_id in question.gold_doc_ids]


@pytest.fixture
def tools(tiny_tokenizer: Any) -> Tools:
    return Tools(
        engine=RecordingEngine(tiny_tokenizer),
        source=Retriever(),
        layout=LAYOUT,
        prompt=PromptConfig(),
        top_k=3,
        max_new_tokens=20,
    )


def prompt(tools: Tools, question: str, *doc_ids: str) -> tuple[int, ...]:
    messages = answer_messages(question, [PASSAGES[doc_id].text for doc_id in doc_ids])
    return tuple(encode(tools.engine.tokenizer, messages, answer_prefill()))


def merged(*doc_ids: str) -> str:
    return merge_cat([versioned(doc_id) for doc_id in doc_ids], LAYOUT).name


def versioned(doc_id: str) -> Versioned:
    return version_of(doc_id), make_factors(int(doc_id[1:]))


@pytest.mark.parametrize(
    ("name", "shown", "adapters"),
    [
        ("closed_book", (), ()),
        ("rag", ("d0", "d1", "d2"), ()),
        ("prag", ("d1",), ("d0", "d2")),
        ("combine", ("d0", "d1", "d2"), ("d0", "d2")),
        ("prag_irrelevant", (), ("d3", "d5")),
        ("rag_gold", ("d4",), ()),
        ("prag_gold", (), ("d4",)),
        ("combine_gold", ("d4",), ("d4",)),
    ],
)
def test_a_method_shows_its_passages_as_text_and_as_adapters(
    name: str, shown: tuple[str, ...], adapters: tuple[str, ...], tools: Tools
) -> None:
    answer = find_method(name).answer(QUESTIONS, tools)[0]
    (request, _) = tools.engine.requests  # type: ignore[attr-defined]
    assert request.token_ids == prompt(tools, QUESTIONS[0].question, *shown)
    assert (request.adapter.name if request.adapter else None) == (merged(*adapters) if adapters else None)
    assert answer.text == "answer 0"
    assert answer.adapters == tuple((doc_id, 0) for doc_id in adapters)
    retrieved = (
        []
        if name == "closed_book" or name.endswith("_gold")
        else [(QUESTIONS[0].question, ["d0", "d1", "d2"])]
    )
    assert [(made.query, [p.doc_id for p in made.passages]) for made in answer.rounds] == retrieved


def test_a_document_without_an_adapter_is_shown_as_text_and_the_answer_says_so(tools: Tools) -> None:
    for name in ("prag", "combine"):
        assert find_method(name).answer(QUESTIONS, tools)[1].degraded == (
            (("d1", 0), "quarantined at augment: no JSON"),
        )
    assert find_method("rag").answer(QUESTIONS, tools)[1].degraded == ()


def test_adapters_meet_by_the_rule_asked_for_with_their_own_passages_scores(tools: Tools) -> None:
    settings = MergeConfig(rule="score_weighted")
    find_method("prag").answer(QUESTIONS, replace(tools, merge=settings))
    (request, _) = tools.engine.requests  # type: ignore[attr-defined]
    adapters = [versioned("d0"), versioned("d2")]
    assert request.adapter is not None
    assert request.adapter.name == merge_adapters(adapters, LAYOUT, settings, [9.0, 7.0]).name


def test_every_question_of_a_batch_gets_its_own_answer_and_share_of_time(tools: Tools) -> None:
    answers = find_method("prag").answer(QUESTIONS, tools)
    assert [answer.text for answer in answers] == ["answer 0", "answer 1"]
    assert set(answers[0].timings_ms) == {"retrieve", "fetch", "merge", "generate"}


def test_the_cap_on_gold_documents_is_top_k(tools: Tools) -> None:
    tools = replace(tools, top_k=1)
    question = Question("q", "Which?", ("x",), ("d4", "d0"))
    assert len(find_method("rag_gold").answer([question], tools)[0].passages) == 1
