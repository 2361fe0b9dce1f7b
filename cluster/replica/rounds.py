"""Answer a task of several rounds: the method runs in a thread of its own, its engine and documents on the event loop.

A method is written as a plain function that waits for its engine. Here each of its waits is a coroutine of the replica's event
loop, so that answers of any method share the engine's batches. It promises:
- every retrieval of an answer is of the snapshot that the task names, within the caller's filter; a document that is deleted
  meanwhile ends the answer as `Stale` before it is read once more, and so does a newer index;
- merged adapters go through the installer like all others, and nothing is shared between callers of different salt;
- a caller that stops listening stops the method: at once where it waits for the engine or the retriever, else at its next wait.

The text comes whole: until the last round any of it may be drafted again, and the answer may begin again after a deletion.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, TypeVar

from ray.exceptions import RayActorError
from ray.serve.exceptions import RayServeException

from cluster.records import (
    UNREACHABLE,
    Begun,
    Delta,
    Done,
    Event,
    Found,
    Inquiry,
    Refusal,
    Refused,
    Stale,
    Task,
    Usage,
    UsedDocument,
    used_documents,
)
from cluster.replica.installer import Made
from cluster.replica.one_round import too_long
from cluster.replica.replica import Replica
from prag_core.answering.merge_plan import plan_merge
from prag_core.answering.registry import Method, Tools
from prag_core.bank import Entry
from prag_core.engines.base import Generation, Request, Sampling
from prag_core.records import AdapterFactors, Answer, Augmentation, Key, Passage, Question

logger = logging.getLogger("ray.serve")
Find = Callable[[Inquiry], Awaitable[Found | Refusal]]
T = TypeVar("T")


async def answer_in_rounds(
    task: Task, method: Method, replica: Replica, find: Find
) -> AsyncGenerator[Event, None]:
    """Yield Usage as tokens are generated, then Begun, the text, Done; or Stale. Raises Refused, EngineError."""
    work = Work(task, replica, find)
    running = asyncio.create_task(work.run(method))
    running.add_done_callback(lambda _: work.usages.put_nowait(None))
    try:
        while (usage := await work.usages.get()) is not None:
            yield usage
        answer = await running
        facts = await work.facts(answer) if task.order.trace else {}
    except Outdated as outdated:
        yield outdated.stale
        return
    finally:
        running.cancel()
    spent = work.milliseconds(answer)
    replica.metrics.prepared(spent, task.order.method, len(answer.degraded), len(answer.rounds))
    yield Begun(
        documents=work.used(answer),
        degraded=answer.degraded,
        timings_ms=spent,
        prompt_tokens=work.usage.prompt_tokens,
        trace=facts,
        rounds=answer.rounds,
    )
    if answer.text:
        yield Delta(answer.text, work.usage.completion_tokens)
    yield Done(answer.finish, work.usage.completion_tokens)


class Outdated(Exception):
    """Ends a method whose documents or index have changed under it."""

    def __init__(self, stale: Stale) -> None:
        super().__init__(stale)
        self.stale = stale


class Work:
    """One task, its documents and its usage so far. Only `wait` is called in the method's thread, the rest on the event loop."""

    def __init__(self, task: Task, replica: Replica, find: Find) -> None:
        assert task.order.inquiry is not None  # such a method retrieves
        self.task, self.replica, self.inquiry, self._find = task, replica, task.order.inquiry, find
        self.entries: dict[Key, Entry] = {}
        self.found: set[Key] = set()
        self.usage, self.usages = Usage(), asyncio.Queue[Usage | None]()
        self.rank, self._install_ms = 0, 0.0
        self._loop = asyncio.get_running_loop()
        self._left = threading.Event()
        self._asked: Future[Any] | None = None

    async def run(self, method: Method) -> Answer:
        task, replica = self.task, self.replica
        tools = Tools(
            engine=EngineOfWork(self),
            source=SourceOfWork(self),
            layout=replica.layout,
            prompt=replica.wording,
            top_k=self.inquiry.top_k,
            max_new_tokens=task.order.decoding.max_new_tokens,
            fewshot=replica.fewshot,
            merge=replica.rule(task.order.merge),
            methods=replica.methods,
            start=replica.start,
            recipe_id=replica.bank.recipe.id,
            earlier=task.order.earlier,
        )
        question = Question(task.request_id, task.order.question, ())
        thread = replica.threads.submit(method.answer, [question], tools)
        replica.at_work.add(thread)
        thread.add_done_callback(replica.at_work.discard)
        try:
            (answer,) = await asyncio.wrap_future(thread)
        finally:
            self._left.set()
            if self._asked is not None:
                self._asked.cancel()
        self.check_current()
        return answer

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """In the thread: run a coroutine on the event loop and return its result; it is cancelled when nobody listens."""
        self._asked = asked = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        if self._left.is_set():
            asked.cancel()
        return asked.result()

    def check_current(self) -> None:
        stale = self.replica.outdated(self.found)
        if stale:
            raise Outdated(stale)

    async def search(self, query: str, k: int) -> list[Passage]:
        inquiry = replace(self.inquiry, query=query, top_k=k, at_least=self.task.found.seen)
        try:
            found = await self._find(inquiry)
        except (RayActorError, RayServeException):
            logger.exception("the retriever cannot be reached", extra={"request_id": self.task.request_id})
            raise Refused(UNREACHABLE) from None
        if isinstance(found, Refusal):
            raise Refused(found)
        if found.snapshot != self.task.found.snapshot:
            raise Outdated(Stale(found.seen))
        await self.replica.watch.look(found.seen)
        self.entries |= found.entries
        self.found |= {passage.key for passage in found.passages}
        self.check_current()
        return list(found.passages)

    async def read(self, entries: Sequence[Entry]) -> tuple[dict[Key, AdapterFactors], dict[Key, str]]:
        fetched = await self.replica.read(entries, self.task.order.salt)
        return fetched.factors, fetched.reasons

    async def generate(self, request: Request, sampling: Sampling) -> Generation:
        self.check_current()
        merged, salt = request.adapter, self.task.order.salt
        limit = self.replica.engine.max_length
        if len(request.token_ids) >= limit:
            raise Refused(too_long(len(request.token_ids), limit))

        async def make() -> Made:
            assert merged is not None  # asked for by its name
            return Made(merged, tuple(self.found))  # of what was found at least all that is in it

        started = time.perf_counter()
        async with self.replica.adapter(merged.name if merged else None, salt, make) as adapter:
            self._install_ms += (time.perf_counter() - started) * 1000
            handle = adapter and adapter.handle
            self._count(prompt_tokens=len(request.token_ids))
            generation = await self.replica.engine.generate(
                request.token_ids, sampling, handle, salt, lambda new: self._count(completion_tokens=new)
            )
        self.rank = merged.rank if merged else 0
        return generation

    def _count(self, prompt_tokens: int = 0, completion_tokens: int = 0) -> None:
        """Add to the tokens of the task, and report them."""
        self.usage = Usage(
            self.usage.prompt_tokens + prompt_tokens, self.usage.completion_tokens + completion_tokens
        )
        self.usages.put_nowait(self.usage)

    async def facts(self, answer: Answer) -> dict[str, Any]:
        route = {"route": answer.route} if answer.route else {}
        if not answer.adapters:
            return route
        entries = [self.entries[key] for key in answer.adapters]
        rule = self.replica.rule(self.task.order.merge).rule
        return route | await self.replica.merge_facts(entries, self.task.order.salt, rule, self.rank)

    def used(self, answer: Answer) -> tuple[UsedDocument, ...]:
        merged = [passage for passage in answer.passages if passage.key in answer.adapters]
        versions = plan_merge(merged, self.entries, self.replica.bank.recipe.id).versions
        return used_documents(answer.passages, versions, answer.shown)

    def milliseconds(self, answer: Answer) -> dict[str, float]:
        """Return the time of each stage, of all rounds together; only of stages that there were."""
        spent = {
            stage: answer.timings_ms.get(stage, 0.0) for stage in ("retrieve", "fetch", "merge", "generate")
        }
        spent |= {"install": self._install_ms, "generate": spent["generate"] - self._install_ms}
        return {stage: value for stage, value in spent.items() if value}


class EngineOfWork:
    """The replica's engine, as a method knows one."""

    def __init__(self, work: Work) -> None:
        self._work, engine = work, work.replica.engine
        self.tokenizer, self.max_length, self._max_rank = engine.tokenizer, engine.max_length, engine.max_rank

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[Generation]:
        async def all_at_once() -> list[Generation]:
            return await asyncio.gather(*[self._work.generate(request, sampling) for request in requests])

        return self._work.wait(all_at_once())

    def close(self) -> None: ...


class SourceOfWork:
    """The caller's documents, of the task's snapshot."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def search(self, questions: Sequence[str], k: int) -> list[list[Passage]]:
        return [self._work.wait(self._work.search(question, k)) for question in questions]

    def entries(self, keys: Collection[Key]) -> Mapping[Key, Entry]:
        return {key: self._work.entries[key] for key in keys if key in self._work.entries}

    def read(self, entries: Sequence[Entry]) -> tuple[Mapping[Key, AdapterFactors], Mapping[Key, str]]:
        return self._work.wait(self._work.read(entries))

    def augmentations(self, keys: Collection[Key]) -> Mapping[Key, Augmentation]:
        entries = self.entries(keys).values()
        return self._work.replica.augmentations(self._work.task.found.snapshot, entries)

    def irrelevant(self, question: Question, retrieved: Sequence[Passage], k: int) -> list[Passage]:
        raise NotImplementedError("controls are for evaluations")

    def gold(self, question: Question) -> list[Passage]:
        raise NotImplementedError("no request has labelled documents")
