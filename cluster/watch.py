"""Knowing the bank's newest snapshot, and with it what was deleted. One listing a look; what is known only grows newer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from prag_core.bank import Bank, Snapshot
from prag_core.bank.published import newest_name
from prag_core.bank.snapshot import load
from prag_core.storage import storage_errors

logger = logging.getLogger("ray.serve")


class SnapshotWatch:
    """`newest` as last seen. `changed` is called when a look finds another one, before anyone can ask for it."""

    def __init__(self, bank: Bank, newest: Snapshot, changed: Callable[[Snapshot], Awaitable[None]]) -> None:
        self.bank, self.newest, self._changed = bank, newest, changed
        self._looking = asyncio.Lock()

    async def look(self, at_least: int | None = None) -> None:
        """Look for a newer snapshot, unless one of number `at_least` is known."""
        async with self._looking:
            if at_least is not None and self.newest.number >= at_least:
                return
            newest = await asyncio.to_thread(self._read)
            if newest.name != self.newest.name:
                await self._changed(newest)
                self.newest = newest

    def _read(self) -> Snapshot:
        with storage_errors("reading", self.bank.uri):
            name = newest_name(self.bank) or self.newest.name
            return self.newest if name == self.newest.name else load(self.bank, name)

    async def keep_looking(self, seconds: float, also: Callable[[], Awaitable[None]] | None = None) -> None:
        """Look every so many seconds until cancelled, then do `also`. A look that fails is logged and made again."""
        while True:
            await asyncio.sleep(seconds)
            try:
                await self.look()
                if also is not None:
                    await also()
            except Exception:
                logger.exception("looking for a new snapshot failed; the last one known is served on")
