"""One engine with its bank and its adapters, in memory and in the engine. All of it follows the newest snapshot: documents that
are deleted leave the caches and do not come back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from cluster.bounds import max_merged_rank
from cluster.metrics import GeneratorMetrics
from cluster.records import Stale
from cluster.replica.adapters import AdapterCache, Fetched
from cluster.replica.installer import Installed, Installer, Made
from cluster.watch import SnapshotWatch
from prag_core.answering.registry import METHODS
from prag_core.answering.tools import open_bank, read_fitting
from prag_core.bank import Entry, Snapshot
from prag_core.bank.snapshot import load
from prag_core.config.schema import Config, MergeConfig
from prag_core.engines.vllm_async import VllmStream
from prag_core.errors import EngineError
from prag_core.identity import digest
from prag_core.merging import counts_once, interference
from prag_core.planning.recipe import recorded_prompt
from prag_core.questions.examples import load_fewshot
from prag_core.records import Answer, Augmentation, Key

logger = logging.getLogger("ray.serve")
SWEEP_SECONDS = 1.0
BARE = "bare"  # the installed name of the adapter that adds nothing


class Replica:
    """Must be made, and then begun, on the event loop that will use it. `threads` run methods that wait for that loop; `at_work`
    has those that are running."""

    def __init__(self, config: Config) -> None:
        serve = config.serve
        self.bank = open_bank(config.bank.uri, config.model)
        newest = self.bank.require_snapshot()
        self.layout, self.merge, self.methods = self.bank.layout, config.merge, config.methods
        self.wording = recorded_prompt(self.bank.recipe, config.prompt)
        self.fewshot = load_fewshot(self.wording.fewshot)
        self.start = self.bank.warm_start()
        slots = self.layout if any(METHODS[name].merges for name in serve.methods) else None
        self.engine = VllmStream(
            config.engine, config.model, slots, max_merged_rank(config, self.bank), ray_metrics=True
        )
        read = partial(read_fitting, self.bank)
        self.cache = AdapterCache(read, serve.adapter_cache_megabytes << 20, serve.damaged_seconds)
        self.installer = Installer(self.engine, self.engine.capacity, serve.grace_seconds)
        self.threads = ThreadPoolExecutor(serve.max_ongoing, "rounds")
        self.at_work: set[Future[list[Answer]]] = set()
        self.metrics = GeneratorMetrics()
        self.watch = SnapshotWatch(self.bank, newest, self._changed)
        self._poll_seconds = serve.poll_seconds

    async def begin(self) -> None:
        await self.engine.check_adapters()
        await self._changed(self.watch.newest)
        loop = asyncio.get_running_loop()
        self._background = [
            loop.create_task(self.watch.keep_looking(self._poll_seconds)),
            loop.create_task(self._keep_sweeping()),
        ]

    def outdated(self, keys: Iterable[Key]) -> Stale | None:
        """Return Stale where one of these documents has been deleted, else None."""
        gone = self.watch.newest.deleted
        return Stale(self.watch.newest.number) if any(doc_id in gone for doc_id, _ in keys) else None

    def rule(self, name: str | None) -> MergeConfig:
        """Return a merge rule by name, or the server's own."""
        return self.merge if name is None else replace(self.merge, rule=name)

    async def read(self, entries: Sequence[Entry], salt: str) -> Fetched:
        """Read the adapters that lie at `entries`, from memory or the bank, and count hits and misses."""
        fetched = await self.cache.fetch(entries, salt)
        self.metrics.fetched(fetched.hits, len(entries) - fetched.hits, self.cache.num_bytes)
        return fetched

    @asynccontextmanager
    async def adapter(
        self, name: str | None, salt: str, make: Callable[[], Awaitable[Made]]
    ) -> AsyncIterator[Installed | None]:
        """Hold the merged adapter of that name (None: no adapter) in the engine until the context is left. Raises EngineError."""
        if name is None and self.engine.bare is None:
            yield None
            return
        async with self.installer.use(
            salted(name, salt), self._make_bare if name is None else make
        ) as installed:
            yield installed

    def is_installed(self, name: str, salt: str) -> bool:
        return salted(name, salt) in self.installer

    async def merge_facts(self, entries: Sequence[Entry], salt: str, rule: str, rank: int) -> dict[str, Any]:
        """Describe a merge for a trace: its rule, its rank, and the cosines between the documents' deltas."""
        factors = (await self.cache.fetch(entries, salt)).factors
        start = self.start[1] if self.start and counts_once(len(factors), self.merge) else None
        between = await asyncio.to_thread(interference, list(factors.values()), self.layout, start)
        cosines = {"mean": between.mean, "largest": between.largest, "cosine": between.cosine_kk.tolist()}
        return {"rule": rule, "rank": rank, "interference": cosines}

    def augmentations(self, snapshot: str, entries: Collection[Entry]) -> Mapping[Key, Augmentation]:
        """Read what was written about these documents of a snapshot, from the bank, blocking."""
        newest = self.watch.newest
        return (newest if newest.name == snapshot else load(self.bank, snapshot)).augmentations_at(entries)

    def close(self) -> None:
        self.threads.shutdown(wait=False)
        self.installer.close()
        self.engine.close()

    async def _make_bare(self) -> Made:
        assert self.engine.bare is not None  # asked for in `adapter` only then
        return Made(self.engine.bare, ())

    async def _changed(self, newest: Snapshot) -> None:
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


def salted(name: str | None, salt: str) -> str:
    """Return the name that a merged adapter is installed under: by its content and by whose caches it belongs to."""
    return BARE if name is None else digest([name, salt])
