"""Answers as OpenAI objects, validated by the client's own types."""

from __future__ import annotations

import json
from typing import Any

from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from cluster.http.responses import Kind, Reply, as_event
from cluster.records import Begun, Delta, Done, Order, UsedDocument
from cluster.service import Answering
from prag_core.engines.base import Decoding
from prag_core.records import Passage, Round

PASSAGE = Passage("d1", 2, "A title", "Its text.", 3.5)
OTHER = Passage("d2", 0, "Another", "More text.", 1.0)


def reply(kind: Kind = "chat", *, trace: bool = False, **timings: float) -> Reply:
    order = Order(model="mine", method="prag", question="Where?", decoding=Decoding(8), trace=trace)
    answering = Answering("id", order, snapshot="00000001-a")
    documents = (UsedDocument(PASSAGE, "version", "adapter"), UsedDocument(OTHER, None, "text"))
    rounds = (Round("Where?", (PASSAGE,)), Round("There", (OTHER, PASSAGE)))
    answering.begun = Begun(
        documents=documents,
        degraded=((OTHER.key, "no adapter"),),
        timings_ms=timings,
        prompt_tokens=30,
        trace={"rule": "sum"},
        rounds=rounds,
    )
    answering.done = Done("length", 4)
    return Reply(kind, answering)


def replied(kind: Kind = "chat") -> Reply:
    """A reply that has taken a text in pieces."""
    made = reply(kind)
    for piece in ("He", "re."):
        made.take(Delta(piece, 0))
    return made


def test_a_whole_answer_is_what_the_client_expects() -> None:
    whole = ChatCompletion.model_validate(replied().whole(), strict=True)
    assert whole.choices[0].message.content == "Here." and whole.choices[0].finish_reason == "length"
    assert (
        whole.usage and whole.usage.total_tokens == 34 and (whole.id, whole.model) == ("chatcmpl-id", "mine")
    )
    text = Completion.model_validate(replied("text").whole(), strict=True)
    assert text.choices[0].text == "Here." and text.id == "cmpl-id"


def test_what_an_answer_rests_on_is_in_its_last_chunk_alone() -> None:
    made = reply()
    chunks = [made.chunk("", first=True), made.chunk("Here."), *made.last_chunks(with_usage=True)]
    found = [ChatCompletionChunk.model_validate(chunk, strict=True) for chunk in chunks]
    assert [chunk.choices[0].delta.content for chunk in found if chunk.choices] == ["", "Here.", None]
    assert [chunk.usage is not None for chunk in found] == [False, False, False, True]
    assert ["prag" in chunk for chunk in chunks] == [False, False, False, True]
    assert "prag" in made.last_chunks(with_usage=False)[-1]


def test_documents_say_how_they_were_used_and_a_trace_adds_texts_and_rounds() -> None:
    plain, traced = reply().prag(), reply(trace=True).prag()
    first = {
        "doc_id": "d1",
        "chunk": 2,
        "title": "A title",
        "score": 3.5,
        "adapter": "version",
        "used_as": "adapter",
    }
    assert plain["documents"][0] == first and traced["documents"][0] == first | {"text": "Its text."}
    assert plain["degraded"] == [{"doc_id": "d2", "chunk": 0, "reason": "no adapter"}]
    assert "rounds" not in plain and "trace" not in plain and traced["trace"] == {"rule": "sum"}
    found = [
        (made["query"], [document["doc_id"] for document in made["documents"]]) for made in traced["rounds"]
    ]
    assert found == [("Where?", ["d1"]), ("There", ["d2", "d1"])]


def test_every_stage_has_a_time_and_generating_where_it_was_in_rounds() -> None:
    stages = ["retrieve", "fetch", "merge", "install", "first_token", "total"]
    assert list(reply(fetch=1.25).prag()["timings_ms"]) == stages
    timings: dict[str, Any] = reply(fetch=1.25, generate=7.0).prag()["timings_ms"]
    assert list(timings) == [*stages[:4], "generate", *stages[4:]] and (
        timings["fetch"],
        timings["merge"],
    ) == (1.25, 0.0)


def test_an_event_is_one_line_of_data() -> None:
    assert as_event("[DONE]") == b"data: [DONE]\n\n"
    event = as_event({"text": "a\nb\u2028\N{SNOWMAN}"}).decode()
    assert event.count("\n") == 2 and json.loads(event.removeprefix("data: ")) == {
        "text": "a\nb\u2028\N{SNOWMAN}"
    }
