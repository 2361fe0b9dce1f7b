"""Methods of several rounds: what stops them, what they are read from; and as an endpoint's users meet them."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import openai
import pytest
from openai import OpenAI
from ray import serve
from ray.exceptions import RayActorError

from cluster.app import NAME
from cluster.records import (
    UNREACHABLE,
    Begun,
    Delta,
    Done,
    Event,
    Found,
    Inquiry,
    Order,
    Refusal,
    Refused,
    Stale,
    Task,
    Usage,
)
from cluster.replica.rounds import answer_in_rounds
from prag_core.answering.registry import METHODS, Tools
from prag_core.answering.tools import open_tools
from prag_core.bank import Bank, delete_documents, restore_documents
from prag_core.config.schema import EngineKind, MergeConfig, MethodsConfig
from prag_core.engines.base import Decoding, Generation, Request, Sampling
from prag_core.merging import MergedAdapter
from prag_core.records import Answer, Passage, Question, Round
from prag_core.retrieval import Filter, build_index
from tests.cluster.endpoint import METHODS as OFFERED
from tests.cluster.endpoint import Endpoint, engine_process, wait_until

SEVERAL = OFFERED[5:]
PLACE = Passage("place", 0, "A place", "It lies.", 2.0)
TENANT = Filter.parse({"kind": "place"})
MERGED = MergedAdapter("merged", {}, rank=2)


class Replica:
    """A replica whose engine waits until `go` is set, and whose corpus loses what is put into `gone`."""

    def __init__(self) -> None:
        self.threads, self.at_work = ThreadPoolExecutor(4), set[Any]()
        self.bank = SimpleNamespace(recipe=SimpleNamespace(id="recipe"))
        self.layout = self.wording = self.start = None
        self.fewshot, self.methods = (), MethodsConfig()
        self.gone: set[str] = set()
        self.go, self.asked, self.cancelled = asyncio.Event(), asyncio.Event(), 0
        self.adapters: list[tuple[str | None, str]] = []
        self.salts: list[str] = []
        self.engine = SimpleNamespace(tokenizer=None, max_length=100, max_rank=8, generate=self._generate)
        self.metrics = SimpleNamespace(prepared=lambda *_: None)
        self.watch = SimpleNamespace(look=self._look)

    async def _look(self, number: int) -> None: ...

    async def _generate(
        self,
        token_ids: Sequence[int],
        sampling: Sampling,
        adapter: Any,
        salt: str,
        count: Callable[[int], None],
    ) -> Generation:
        self.salts.append(salt)
        count(3)
        self.asked.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return Generation("said", (1, 2, 3), "stop")

    @asynccontextmanager
    async def adapter(
        self, name: str | None, salt: str, make: Callable[[], Awaitable[Any]]
    ) -> AsyncIterator[Any]:
        self.adapters.append((name, salt))
        yield None

    def outdated(self, keys: Any) -> Stale | None:
        return Stale(9) if any(doc_id in self.gone for doc_id, _ in keys) else None

    def rule(self, name: str | None) -> MergeConfig:
        return MergeConfig()


class Twice:
    """Retrieves and generates, twice; `between` is called in its thread."""

    name = "twice"

    def __init__(self, between: Callable[[], None] = lambda: None, length: int = 5) -> None:
        self.between, self.length = between, length
        self.ended_by: list[str] = []

    def answer(self, questions: Sequence[Question], tools: Tools) -> list[Answer]:
        try:
            rounds = [self._round(tools, MERGED)]
            self.between()
            rounds.append(self._round(tools, None))
        except BaseException as error:
            self.ended_by.append(type(error).__name__)
            raise
        return [
            Answer(
                "said said",
                passages=(PLACE,),
                rounds=tuple(rounds),
                num_tokens=6,
                shown=(PLACE.key,),
                finish="length",
            )
        ]

    def _round(self, tools: Tools, adapter: Any) -> Round:
        (found,) = tools.source.search(["where"], tools.top_k)
        tools.engine.generate([Request((0,) * self.length, adapter)], Sampling(4))
        return Round("where", tuple(found))


class Corpus:
    """A retriever: keeps what it was asked, finds the place in the snapshots it is given in turn."""

    def __init__(self, *snapshots: str) -> None:
        self.snapshots, self.inquiries = list(snapshots), list[Inquiry]()

    async def find(self, inquiry: Inquiry) -> Found | Refusal:
        self.inquiries.append(inquiry)
        snapshot = self.snapshots.pop(0)
        if snapshot == "unreachable":
            raise RayActorError
        return Found(snapshot, 8, (PLACE,))


def task() -> Task:
    order = Order(
        model="twice",
        method="twice",
        question="Where?",
        decoding=Decoding(8),
        inquiry=Inquiry("?", 2, None, TENANT),
        salt="tenant",
    )
    return Task(request_id="id", order=order, found=Found("one", 7))


def run(
    method: Any, corpus: Corpus, act: Callable[[Replica, asyncio.Task[None]], Awaitable[None]]
) -> list[Event]:
    """What is answered, and told, while `act` does something to the replica or the listener."""

    async def scenario() -> list[Event]:
        replica: Any = Replica()

        events: list[Event] = []

        async def listen() -> None:
            async for event in answer_in_rounds(task(), method, replica, corpus.find):
                events.append(event)

        listener = asyncio.create_task(listen())
        await act(replica, listener)
        with suppress(asyncio.CancelledError):
            await listener
        replica.threads.shutdown(wait=True)  # the method has been left alone: it must come to its end
        return events

    return asyncio.run(scenario())


async def let_it(replica: Replica, listener: Any) -> None:
    replica.go.set()


def test_an_answer_tells_all_of_its_rounds_and_what_they_took() -> None:
    corpus = Corpus("one", "one")
    replicas: list[Replica] = []

    async def act(replica: Replica, listener: Any) -> None:
        replicas.append(replica)
        replica.go.set()

    *usages, begun, said, done = run(Twice(), corpus, act)
    assert usages == [Usage(5, 0), Usage(5, 3), Usage(10, 3), Usage(10, 6)]
    assert isinstance(begun, Begun) and [made.query for made in begun.rounds] == ["where", "where"]
    assert [(used.passage, used.used_as) for used in begun.documents] == [(PLACE, "text")]
    assert begun.prompt_tokens == 10 and (said, done) == (Delta("said said", 6), Done("length", 6))
    assert (
        replicas[0].adapters == [("merged", "tenant"), (None, "tenant")]
        and replicas[0].salts == ["tenant"] * 2
    )


def test_every_retrieval_is_within_the_callers_filter() -> None:
    corpus = Corpus("one", "one")
    run(Twice(), corpus, let_it)
    assert corpus.inquiries == [Inquiry("where", 2, None, TENANT, at_least=7)] * 2


def test_who_leaves_stops_the_method_where_it_waits_for_the_engine() -> None:
    method, replicas = Twice(), []

    async def leave(replica: Replica, listener: asyncio.Task[Any]) -> None:
        replicas.append(replica)
        await replica.asked.wait()
        listener.cancel()

    told = run(method, Corpus("one", "one"), leave)
    assert told == [Usage(5, 0), Usage(5, 3)], "what was generated by then is told, so that it is charged"
    assert method.ended_by == ["CancelledError"] and replicas[0].cancelled == 1 and not replicas[0].at_work


def test_who_leaves_while_the_method_computes_stops_it_at_its_next_wait() -> None:
    computing, left = threading.Event(), threading.Event()

    def compute() -> None:
        computing.set()
        left.wait()

    method, corpus = Twice(compute), Corpus("one", "one")

    async def leave(replica: Replica, listener: asyncio.Task[Any]) -> None:
        replica.go.set()
        await asyncio.to_thread(computing.wait)
        listener.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        left.set()

    assert run(method, corpus, leave) == [Usage(5, 0), Usage(5, 3)]
    assert method.ended_by == ["CancelledError"] and len(corpus.inquiries) == 1


def test_a_document_that_is_deleted_between_two_rounds_is_not_read_again() -> None:
    async def delete(replica: Replica, listener: Any) -> None:
        await replica.asked.wait()
        replica.gone.add(PLACE.doc_id)
        replica.go.set()

    assert run(Twice(), Corpus("one", "one"), delete)[-1] == Stale(9)


def test_rounds_of_two_snapshots_are_never_one_answer() -> None:
    assert run(Twice(), Corpus("one", "two"), let_it)[-1] == Stale(8)


def test_a_retriever_that_is_gone_and_a_prompt_that_is_too_long_are_said() -> None:
    with pytest.raises(Refused) as refused:
        run(Twice(), Corpus("one", "unreachable"), let_it)
    assert refused.value.refusal == UNREACHABLE
    with pytest.raises(Refused) as refused:
        run(Twice(length=100), Corpus("one", "one"), let_it)
    assert refused.value.refusal.code == "context_length_exceeded"


# -- the real endpoint ----------------------------------------------------------------------------------------------


def ask(endpoint: Endpoint, method: str, question: str, key: str = "all", **more: Any) -> Any:
    client = OpenAI(base_url=endpoint.url, api_key=endpoint.keys[key], max_retries=0, timeout=60)
    messages: Any = [{"role": "user", "content": question}]
    return client.chat.completions.create(model=method, messages=messages, **more)


def traced(**options: Any) -> dict[str, Any]:
    return {"extra_body": {"prag": {"trace": True, **options}}}


def test_each_answers_as_prag_ask_does_and_shows_the_same_rounds(
    endpoint: Endpoint, questions: list[str]
) -> None:
    """Text, documents, degradations and retrievals, against the transformers and PEFT engine in this process."""
    engine = replace(endpoint.config.engine, kind=EngineKind.transformers)
    asked = [Question("", question, ()) for question in questions[:3]]
    with open_tools(
        replace(endpoint.config, engine=engine), {"": endpoint.config.bank.uri}, documents=4
    ) as tools:
        expected = {name: METHODS[name].answer(asked, tools[""]) for name in SEVERAL}
    assert max(len(answer.rounds) for answer in expected["ircot+prag"]) > 1
    assert all(
        any(answer.adapters for answer in expected[name]) for name in SEVERAL if name.endswith("+prag")
    )
    for name, answers in expected.items():
        for question, answer in zip(asked, answers, strict=True):
            reply = ask(endpoint, name, question.question, **traced())
            assert (
                reply.choices[0].message.content == answer.text
                and reply.choices[0].finish_reason == answer.finish
            )
            ends = reply.usage.completion_tokens - answer.num_tokens  # an end of sequence is generated, too
            assert 0 <= ends <= 1 + 2 * len(answer.rounds) and answer.num_tokens < reply.usage.prompt_tokens
            found = [
                (made["query"], [d["doc_id"] for d in made["documents"]]) for made in reply.prag["rounds"]
            ]
            assert found == [(made.query, [p.doc_id for p in made.passages]) for made in answer.rounds]
            used = {
                (d["doc_id"], d["chunk"]): (d["used_as"], bool(d["adapter"])) for d in reply.prag["documents"]
            }
            assert list(used) == [passage.key for passage in answer.passages]
            assert {key for key, (_, merged) in used.items() if merged} == set(answer.adapters)
            assert {key for key, (used_as, _) in used.items() if used_as != "adapter"} == set(answer.shown)
            degraded = [((d["doc_id"], d["chunk"]), d["reason"]) for d in reply.prag["degraded"]]
            assert degraded == list(answer.degraded)


def test_what_an_answer_took_is_told_by_stage(endpoint: Endpoint, questions: list[str]) -> None:
    reply = ask(endpoint, "ircot+prag", questions[0], **traced(merge="mean", top_k=2))
    timings = reply.prag["timings_ms"]
    assert list(timings) == ["retrieve", "fetch", "merge", "install", "generate", "first_token", "total"]
    assert 0 < timings["generate"] < timings["total"] and timings["retrieve"] > 0
    assert {len(made["documents"]) for made in reply.prag["rounds"]} == {2}
    assert reply.prag["trace"]["rule"] == "mean" and reply.prag["trace"]["rank"] >= 4
    assert {document["used_as"] for document in reply.prag["documents"]} == {"both"}
    assert "rounds" not in ask(endpoint, "ircot+prag", questions[0]).prag
    once = ask(endpoint, "rag", questions[0], **traced()).prag
    assert [made["query"] for made in once["rounds"]] == [questions[0]]
    assert [d["doc_id"] for d in once["rounds"][0]["documents"]] == [d["doc_id"] for d in once["documents"]]


def test_a_stream_has_the_text_in_one_piece_and_the_rounds_at_its_end(
    endpoint: Endpoint, questions: list[str]
) -> None:
    whole = ask(endpoint, "flare", questions[0], **traced())
    chunks = list(
        ask(endpoint, "flare", questions[0], stream=True, stream_options={"include_usage": True}, **traced())
    )
    pieces = [
        chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content
    ]
    assert pieces == [whole.choices[0].message.content]
    assert chunks[-1].prag["rounds"] == whole.prag["rounds"] and chunks[-1].usage == whole.usage


def test_earlier_turns_are_in_every_prompt_and_no_query(endpoint: Endpoint, questions: list[str]) -> None:
    alone = ask(endpoint, "ircot", questions[0], **traced())
    messages: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": questions[0]}]
    longer: Any = endpoint.client.chat.completions.create(model="ircot", messages=messages, **traced())
    assert longer.prag["rounds"][0] == alone.prag["rounds"][0]
    assert longer.usage.prompt_tokens > alone.usage.prompt_tokens


@pytest.mark.parametrize("method", ["flare+prag", "ircot", "da_rag+prag"])
def test_a_tenants_filter_holds_in_every_round(endpoint: Endpoint, questions: list[str], method: str) -> None:
    def kinds(key: str) -> set[str]:
        rounds = [
            made
            for question in questions[:3]
            for made in ask(endpoint, method, question, key, **traced()).prag["rounds"]
        ]
        return {document["doc_id"].rsplit("-", 1)[1] for made in rounds for document in made["documents"]}

    assert kinds("places") == {"place"} and kinds("all") > {"place"}


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"temperature": 0.5}, "temperature"),
        ({"stop": "."}, "stop"),
        ({"presence_penalty": 1.0}, "presence_penalty"),
        ({"extra_body": {"prag": {"doc_ids": ["dev-000-place"]}}}, "prag.doc_ids"),
        ({"extra_body": {"prag": {"merge": "sum"}}}, "prag.merge"),
        ({"extra_body": {"prag": {"top_k": 40}}}, "prag.top_k"),
        ({"extra_body": {"prag": {"method": "dragin"}}}, "prag.method"),
    ],
)
def test_what_they_cannot_honour_is_refused_with_the_reason(
    endpoint: Endpoint, more: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        ask(endpoint, "flare", "Where is Jelamnax?", **more)
    assert refused.value.param == param
    assert param != "prag.method" or "attentions" in refused.value.message


def test_a_prompt_beyond_the_context_is_the_clients_to_mend(endpoint: Endpoint) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        ask(endpoint, "ircot", "Where is Jelamnax? " * 2000)
    assert refused.value.code == "context_length_exceeded"


def at_work() -> int:
    return int(serve.get_deployment_handle("Generator", NAME).status.remote().result()["at_work"])


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_gives_its_place_back_while_the_engine_is_still_at_it(
    endpoint: Endpoint, stream: bool
) -> None:
    """The engine is held still, so that no answer can come to an end by itself; nor does the request run out of time."""
    engine = engine_process()
    body: Any = {
        "model": "flare",
        "stream": stream,
        "messages": [{"role": "user", "content": "Where is Jelamnax?"}],
    }
    request = endpoint.http.build_request("POST", "/v1/chat/completions", json=body)
    lines = [
        "POST /v1/chat/completions HTTP/1.1",
        *(f"{name}: {value}" for name, value in request.headers.items()),
    ]
    engine.suspend()
    try:
        with socket.create_connection((request.url.host, request.url.port or 80)) as connection:
            connection.sendall("\r\n".join([*lines, "", ""]).encode() + request.content)
            wait_until(lambda: at_work() == 1)
        wait_until(lambda: at_work() == 0)
    finally:
        engine.resume()
    assert ask(endpoint, "flare", "Where is Jelamnax?").choices[0].message.content


def test_a_deleted_document_is_in_no_round_from_then_on(
    endpoint: Endpoint, questions_about: dict[str, list[str]]
) -> None:
    bank, (doc_id, asked) = Bank.open(endpoint.config.bank.uri), next(iter(questions_about.items()))

    def found() -> set[str]:
        reply = ask(endpoint, "ircot", asked[0], **traced())
        return {document["doc_id"] for made in reply.prag["rounds"] for document in made["documents"]}

    assert doc_id in found()
    delete_documents(bank, [doc_id])
    wait_until(lambda: doc_id not in found())
    build_index(bank, restore_documents(bank, [doc_id]), endpoint.config.retrieval)
    wait_until(lambda: doc_id in found())
