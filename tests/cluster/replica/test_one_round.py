"""An answer of one round, by the endpoint and in a batch: the same documents merged, shown and left out, for the same reasons."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from cluster.records import Begun, Delta, Done, Event, Found, Inquiry, Order, Task, Usage
from cluster.replica.adapters import AdapterCache
from cluster.replica.installer import Installer
from cluster.replica.one_round import answer_in_one_round
from cluster.replica.replica import Replica, salted
from cluster.replica.rounds import answer_in_rounds
from prag_core.answering.merge_plan import UNREADABLE
from prag_core.answering.registry import METHODS, OneRound, Tools
from prag_core.answering.tools import OpenBank, make_tools, read_fitting
from prag_core.bank import Bank, Stage
from prag_core.bank.tables import WANTED
from prag_core.config.load import load_config
from prag_core.config.schema import Config
from prag_core.engines.base import Decoding, Generation, Piece, Request, Sampling
from prag_core.identity import content_hash
from prag_core.models.base_model import load_tokenizer
from prag_core.planning.recipe import prepare_recipe
from prag_core.records import Adapter, Document, Factors, Failure, Question
from prag_core.retrieval import build_index
from tests.cluster.endpoint import damage

NAMES = ("right", "failed", "forgotten", "damaged", "another")
DOCUMENTS = [Document(name, f"The {name} number is {i}.", f"number {i}") for i, name in enumerate(NAMES)]
QUESTION = "Which number is it?"
REASONS = {
    ("failed", 0): "quarantined at train: diverged",
    ("forgotten", 0): "text_only: its adapter answered 0% of the document's own questions",
    ("damaged", 0): UNREADABLE,
}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Of an indexed bank of five documents; only `right` and `another` have adapters that can be merged."""
    config = load_config([f"bank.uri={tmp_path_factory.mktemp('one_round')}/bank", "retrieval.top_k=5"])
    prepared = prepare_recipe(config)
    bank = Bank.create(config.bank.uri, prepared.recipe, prepared.layout, prepared.initial)
    with bank.begin(Stage.adapters, "shard") as writer:
        for number, document in enumerate(DOCUMENTS):
            content = content_hash(document)
            if document.doc_id == "failed":
                writer.add(Failure(*document.key, content, "train", "diverged", 1))
                continue
            random = np.random.default_rng(number)
            factors = {
                name: Factors(random.normal(size=a).astype("f4"), random.normal(size=b).astype("f4"))
                for name, a, b in prepared.layout.shapes()
            }
            adapter = Adapter(
                *document.key, content, factors, steps=5, tokens=9, loss_first=2.0, loss_last=1.0
            )
            refused: dict[str, Any] = (
                {"accepted": False, "score": 0.0} if document.doc_id == "forgotten" else {}
            )
            writer.add(replace(adapter, **refused))
        writer.commit([bank.write_documents("shard", DOCUMENTS)])
    rows = [{"doc_id": d.doc_id, "chunk": d.chunk, "content_hash": content_hash(d)} for d in DOCUMENTS]
    build_index(bank, bank.write_snapshot(pa.Table.from_pylist(rows, WANTED)), config.retrieval)
    damage(bank, "damaged")
    return config


class Engine:
    """Keeps prompts and the names of adapters, whichever way it is asked; it says two words, the first of them in two steps."""

    max_length, max_rank, bare = 4096, 64, None

    def __init__(self, config: Config) -> None:
        self.tokenizer = load_tokenizer(config.model.path, config.model.revision)
        self.asked: list[tuple[tuple[int, ...], str | None]] = []

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[Generation]:
        self.asked += [(r.token_ids, r.adapter.name if r.adapter else None) for r in requests]
        return [Generation("It is.", (1, 2, 3), "stop") for _ in requests]

    async def stream(
        self, token_ids: Sequence[int], decoding: Decoding, adapter: Any = None, salt: str = ""
    ) -> AsyncIterator[Piece]:
        self.asked.append((tuple(token_ids), adapter))
        for piece in (Piece("", 1), Piece("It", 2), Piece(" is.", 3, "stop")):
            yield piece

    async def install(self, name: str, number: int, folder: Path) -> str:
        return name

    async def uninstall(self, handle: str) -> None: ...

    def close(self) -> None: ...


class ServingEngine(Engine):
    """The same as it serves answers of several rounds."""

    async def generate(self, token_ids: Any, sampling: Any, adapter: Any, salt: str, count: Any) -> Any:  # type: ignore[override]
        self.asked.append((tuple(token_ids), adapter))
        count(3)
        return Generation("It is.", (1, 2, 3), "stop")


class Served(Replica):
    """A replica over that engine."""

    def __init__(self, config: Config, tools: Tools, opened: OpenBank) -> None:
        self.engine, self.bank, self.layout = ServingEngine(config), opened.bank, tools.layout  # type: ignore[assignment]
        self.merge, self.methods, self.wording, self.fewshot = tools.merge, tools.methods, tools.prompt, ()
        self.start = tools.start
        self.cache = AdapterCache(lambda entries: read_fitting(opened.bank, entries), 1 << 30, 60)
        self.installer = Installer(self.engine, 4, 10)
        self.threads, self.at_work = ThreadPoolExecutor(1), set()
        nothing = lambda *_: None  # noqa: E731
        self.metrics = SimpleNamespace(prepared=nothing, fetched=nothing)  # type: ignore[assignment]
        self.watch = SimpleNamespace(newest=opened.snapshot, look=self._look)  # type: ignore[assignment]

    async def _look(self, number: int) -> None: ...


def serve(config: Config, method: str, tools: Tools, opened: OpenBank) -> tuple[list[Event], Any]:
    """The events of an answer by the endpoint, and the engine that was asked."""

    async def find(inquiry: Inquiry) -> Found:
        (passages,) = opened.search([inquiry.query], inquiry.top_k)
        return Found(opened.snapshot.name, 1, tuple(passages), opened.entries([p.key for p in passages]))

    async def scenario() -> tuple[list[Event], Any]:
        inquiry = None if method == "closed_book" else Inquiry(QUESTION, tools.top_k)
        order = Order(
            model=method, method=method, question=QUESTION, decoding=Decoding(8), inquiry=inquiry, trace=True
        )
        found = await find(inquiry) if inquiry else Found(opened.snapshot.name, 1)
        task, replica, way = (
            Task(request_id="id", order=order, found=found),
            Served(config, tools, opened),
            METHODS[method],
        )
        answering: Any = (
            answer_in_one_round(task, way, replica)
            if isinstance(way, OneRound)
            else answer_in_rounds(task, way, replica, find)
        )
        try:
            return [event async for event in answering], replica.engine
        finally:
            replica.close()

    return asyncio.run(scenario())


@pytest.mark.parametrize("method", ["closed_book", "rag", "prag", "combine", "da_rag", "da_rag+prag"])
def test_an_endpoint_and_a_batch_merge_show_and_leave_out_the_same_for_the_same_reasons(
    config: Config, method: str
) -> None:
    opened, engine = OpenBank.open(config.bank.uri, config), Engine(config)
    tools = make_tools(config, opened, engine)
    (answer,) = METHODS[method].answer([Question("q", QUESTION, ())], tools)
    events, asked = serve(config, method, tools, opened)
    (begun,) = (event for event in events if isinstance(event, Begun))
    assert begun.degraded == answer.degraded
    assert dict(answer.degraded) == (REASONS if "prag" in method or method == "combine" else {})
    assert [used.passage for used in begun.documents] == list(answer.passages)
    assert tuple(used.passage.key for used in begun.documents if used.adapter) == answer.adapters
    shown = {used.passage.key for used in begun.documents if used.used_as != "adapter"}
    assert shown == set(answer.shown) and begun.rounds == answer.rounds
    ((prompt, name),) = engine.asked
    assert asked.asked == [(prompt, salted(name, "") if name else None)]


def test_tokens_whose_text_is_held_back_are_told_of(config: Config) -> None:
    opened = OpenBank.open(config.bank.uri, config)
    events, _ = serve(config, "rag", make_tools(config, opened, Engine(config)), opened)
    begun, *rest = events
    assert isinstance(begun, Begun)
    assert rest == [Usage(begun.prompt_tokens, 1), Delta("It", 2), Delta(" is.", 3), Done("stop", 3)]


def test_the_blank_before_an_answer_is_not_of_its_text(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stream(*_: Any) -> AsyncIterator[Piece]:
        for piece in (Piece(" ", 1), Piece(" It", 2), Piece(" is.", 3, "stop")):
            yield piece

    monkeypatch.setattr(ServingEngine, "stream", stream)
    opened = OpenBank.open(config.bank.uri, config)
    (begun, *rest), _ = serve(config, "rag", make_tools(config, opened, Engine(config)), opened)
    assert isinstance(begun, Begun)
    assert rest == [Usage(begun.prompt_tokens, 1), Delta("It", 2), Delta(" is.", 3), Done("stop", 3)]
