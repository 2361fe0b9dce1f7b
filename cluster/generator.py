"""A task with its passages → the answer as events: adapters fetched, merged, installed, then text as the engine makes it.

One replica is one engine. Everything that computes or waits for storage runs off the event loop. What a task is answered
from is fixed when it arrives: its passages and its adapters are of the snapshot it was retrieved from, unless a newer one has
deleted some of them; then it is `Stale` and must be retrieved again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from cluster.adapters import AdapterCache
from cluster.bounds import max_merged_rank
from cluster.installer import Installed, Installer, Made
from cluster.loopback import keep_to_loopback
from cluster.metrics import GeneratorMetrics
from cluster.records import Begun, Delta, Done, Event, Refused, Stale, Task, UsedAs, UsedDocument
from cluster.watch import SnapshotWatch
from prag_core.answering import open_bank
from prag_core.bank import Entry, Snapshot
from prag_core.bank.reader import read_usable
from prag_core.config import Config, MergeConfig
from prag_core.engines.vllm_stream import VllmStream
from prag_core.errors import BankError, EngineDiedError, EngineError, ModelError
from prag_core.identity import adapter_version, digest
from prag_core.lora import check_factors
from prag_core.merge import counts_once, interference, merge_adapters, merged_name
from prag_core.methods import SERVED
from prag_core.methods.protocol import Stopwatch
from prag_core.prompts import encode_question
from prag_core.recipe import recorded_prompt
from prag_core.records import AdapterFactors, Key, Passage
from prag_core.samples import load_fewshot

logger = logging.getLogger("ray.serve")
SWEEP_SECONDS = 1.0
BARE = "bare"  # the installed name of the adapter that adds nothing
RETRY_DEAD = 5  # seconds after which a client whose engine died may try again


@dataclass(frozen=True)
class Plan:
    """Which of a task's passages are to be merged, and why the others cannot be."""

    entries: tuple[Entry, ...]
    degraded: dict[Key, str]


def make_plan(passages: Sequence[Passage], entries: Mapping[Key, Entry]) -> Plan:
    """By what the snapshot says of each passage: whether its adapter can be read shows later."""
    wanted = {passage.key: entries.get(passage.key) for passage in passages}
    reasons = {key: why for key, entry in wanted.items() if (why := entry.unusable if entry else "it has no adapter")}
    return Plan(tuple(entry for key, entry in wanted.items() if entry and key not in reasons), reasons)


class Generator:
    """A deployment."""

    async def __init__(self, config: Config) -> None:  # type: ignore[misc]  # Serve awaits it
        keep_to_loopback()
        serve = config.serve
        self.bank = open_bank(config.bank.uri, config.model)
        newest = self.bank.latest_snapshot()
        if newest is None:
            raise BankError(f"{self.bank.uri}: the bank has no snapshot yet; run prag parameterize bank.uri={self.bank.uri}")
        self.layout, self.merge = self.bank.layout, config.merge
        self.wording = recorded_prompt(self.bank.recipe, config.prompt)
        self.fewshot = load_fewshot(self.wording.fewshot)
        self.start = self.bank.warm_start()
        max_rank = max_merged_rank(config, self.bank)
        slots = self.layout if any(SERVED[name].adapters for name in serve.methods) else None
        self.engine = VllmStream(config.engine, config.model, slots, max_rank, ray_metrics=True)
        self.cache = AdapterCache(self._read, serve.adapter_cache_megabytes << 20, serve.damaged_seconds)
        self.installer = Installer(self.engine, self.engine.capacity, serve.grace_seconds)
        self.metrics = GeneratorMetrics()
        self.watch = SnapshotWatch(self.bank, newest, self._changed)
        await self._changed(newest)
        loop = asyncio.get_running_loop()
        self._background = [
            loop.create_task(self.watch.keep_looking(serve.poll_seconds)),
            loop.create_task(self._keep_sweeping()),
        ]

    async def answer(self, task: Task) -> AsyncGenerator[Event, None]:
        """Begun, the text in pieces, Done; or Stale or Refused, also in the middle of the text when the engine dies."""
        await self.watch.look(task.found.seen)
        gone = self.watch.newest.deleted
        if any(passage.doc_id in gone for passage in task.found.passages):
            yield Stale(self.watch.newest.number)
            return
        try:
            async with aclosing(self._answer(task)) as events:
                async for event in events:
                    yield event
        except EngineDiedError:
            yield Refused(503, "the engine ended; another one is being started", None, "engine_unavailable", RETRY_DEAD)
        except EngineError as error:
            logger.warning("task refused", extra={"request_id": task.request_id, "reason": str(error)})
            yield Refused(400, str(error), None, "engine_refused")

    async def status(self) -> dict[str, Any]:
        """What there is to know about this replica from outside."""
        await self.check_health()
        return {"snapshot": self.watch.newest.name, "installed": len(self.installer), "cached_bytes": self.cache.num_bytes}

    async def check_health(self) -> None:
        """Raises EngineDiedError: Serve then replaces this replica."""
        await self.engine.check_health()

    def __del__(self) -> None:
        if "installer" in self.__dict__:
            self.installer.close()
        if "engine" in self.__dict__:
            self.engine.close()

    async def _answer(self, task: Task) -> AsyncGenerator[Event, None]:
        clock = Stopwatch()
        uses = SERVED[task.method]
        plan = make_plan(task.found.passages, task.found.entries) if uses.adapters else Plan((), {})
        with clock.stage("fetch"):
            name, factors, plan = await self._fetch(task, plan)

        async def make() -> Made:
            usable = factors or (await self.cache.fetch(plan.entries, task.salt)).factors
            with clock.stage("merge"):
                return await asyncio.to_thread(self._merge, task, plan, usable)

        started = time.perf_counter()
        async with self._adapter(name, plan, make) as adapter:
            clock.milliseconds["install"] = (time.perf_counter() - started) * 1000 - clock.milliseconds.get("merge", 0.0)
            shown = [passage for passage in task.found.passages if uses.text or passage.key in plan.degraded]
            token_ids = await asyncio.to_thread(self._encode, task, shown)
            if len(token_ids) >= self.engine.max_length:
                yield Refused(400, too_long(len(token_ids), self.engine.max_length), "messages", "context_length_exceeded")
                return
            self.metrics.prepared(clock.milliseconds, task.method, len(plan.degraded))
            documents = self._used(task, plan, text=uses.text)
            facts = await self._trace(task, plan, adapter) if task.trace else {}
            yield Begun(documents, tuple(plan.degraded.items()), dict(clock.milliseconds), len(token_ids), facts)
            async with aclosing(self._generate(task, token_ids, adapter and adapter.handle)) as events:
                async for event in events:
                    yield event

    @asynccontextmanager
    async def _adapter(self, name: str, plan: Plan, make: Callable[[], Awaitable[Made]]) -> AsyncIterator[Installed | None]:
        if not plan.entries and self.engine.bare is None:
            yield None
            return
        async with self.installer.use(name, make if plan.entries else self._make_bare) as installed:
            yield installed

    async def _generate(self, task: Task, token_ids: Sequence[int], adapter: Any) -> AsyncGenerator[Event, None]:
        async with aclosing(self.engine.stream(token_ids, task.decoding, adapter, task.salt)) as pieces:
            async for piece in pieces:
                if piece.text:
                    yield Delta(piece.text)
                if piece.finish:
                    yield Done(piece.finish, piece.num_tokens)

    async def _fetch(self, task: Task, plan: Plan) -> tuple[str, Mapping[Key, AdapterFactors], Plan]:
        """The merged adapter's name; unless it is installed, its documents' adapters; and the plan without the unreadable."""
        name = self._name(task, plan)
        if name in self.installer or not plan.entries:
            return name, {}, plan
        fetched = await self.cache.fetch(plan.entries, task.salt)
        self.metrics.fetched(fetched.hits, len(plan.entries) - fetched.hits, self.cache.num_bytes)
        plan = Plan(tuple(entry for entry in plan.entries if entry.key in fetched.factors), plan.degraded | fetched.reasons)
        return self._name(task, plan), fetched.factors, plan

    def _name(self, task: Task, plan: Plan) -> str:
        """By content: what is merged, how, and on whose behalf."""
        if not plan.entries:
            return BARE
        versions = [self._version(entry) for entry in plan.entries]
        start = self.start and self.start[0]
        return digest([merged_name(versions, self._rule(task), scores_of(task, plan), start), task.salt])

    def _merge(self, task: Task, plan: Plan, factors: Mapping[Key, AdapterFactors]) -> Made:
        adapters = [(self._version(entry), factors[entry.key]) for entry in plan.entries]
        merged = merge_adapters(adapters, self.layout, self._rule(task), scores_of(task, plan), self.start)
        return Made(merged, tuple(entry.key for entry in plan.entries))

    def _rule(self, task: Task) -> MergeConfig:
        return self.merge if task.merge is None else replace(self.merge, rule=task.merge)

    async def _trace(self, task: Task, plan: Plan, adapter: Installed | None) -> dict[str, Any]:
        """Facts about the merge: rule, rank, and how much the documents' adapters get into each other's way."""
        if adapter is None or not plan.entries:
            return {}
        factors = (await self.cache.fetch(plan.entries, task.salt)).factors
        start = self.start[1] if self.start and counts_once(len(factors), self.merge) else None
        between = await asyncio.to_thread(interference, list(factors.values()), self.layout, start)
        return {
            "rule": self._rule(task).rule,
            "rank": adapter.rank,
            "interference": {"mean": between.mean, "largest": between.largest, "cosine": between.cosine_kk.tolist()},
        }

    async def _make_bare(self) -> Made:
        assert self.engine.bare is not None  # asked for in `_adapter` only then
        return Made(self.engine.bare, ())

    def _encode(self, task: Task, shown: Sequence[Passage]) -> tuple[int, ...]:
        passages = [(passage.title, passage.text) for passage in shown]
        return encode_question(self.engine.tokenizer, task.question, passages, self.wording, self.fewshot, task.earlier)

    def _used(self, task: Task, plan: Plan, *, text: bool) -> tuple[UsedDocument, ...]:
        versions = {entry.key: self._version(entry) for entry in plan.entries}

        def used_as(key: Key) -> UsedAs:
            return ("both" if text else "adapter") if key in versions else "text"

        return tuple(UsedDocument(p, versions.get(p.key), used_as(p.key)) for p in task.found.passages)

    def _version(self, entry: Entry) -> str:
        return adapter_version(entry.content_hash, self.bank.recipe.id)

    def _read(self, entries: Sequence[Entry]) -> tuple[Mapping[Key, AdapterFactors], Mapping[Key, str]]:
        """From the bank, digests checked; an adapter that does not fit the model is as bad as a damaged one."""
        factors, reasons = read_usable(self.bank, entries)
        for key, adapter in list(factors.items()):
            try:
                check_factors(adapter, self.layout)
            except ModelError as error:
                reasons[key] = str(error)
                del factors[key]
        return factors, reasons

    async def _changed(self, newest: Snapshot) -> None:
        """What is deleted leaves the caches; nothing of it comes back while it is."""
        self.cache.forget(newest.deleted)
        await self.installer.forget(newest.deleted)
        await self.engine.forget_prefixes()

    async def _keep_sweeping(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                await self.installer.sweep()
            except EngineError:
                logger.exception("idle adapters cannot be removed")


def scores_of(task: Task, plan: Plan) -> list[float]:
    scores = {passage.key: passage.score for passage in task.found.passages}
    return [scores[entry.key] for entry in plan.entries]


def too_long(tokens: int, limit: int) -> str:
    return f"the prompt has {tokens} tokens with its passages; the model's context is {limit}, one kept for the answer"
