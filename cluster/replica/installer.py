"""Install merged adapters in the engine: written to RAM once, before any request names them, and removed after the last one.

An adapter is named by what went into it, so requests over the same documents share one installation (and the engine's
prefix cache). It promises:
- of concurrent requests for a name one makes and installs it, and the others wait for that one;
- a folder lies unchanged while any request uses it: the engine may read it again at any time;
- after its last request it stays for a grace time, or less when room is needed; then the engine forgets it and the folder goes;
- folders of a process that was killed are removed by the next that starts.
"""

from __future__ import annotations

import asyncio
import fcntl
import itertools
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from prag_core.engines.adapter_files import ram_folder, write_peft
from prag_core.errors import EngineError
from prag_core.merging import MergedAdapter
from prag_core.records import Key

PREFIX = "prag-serving-"
LOCK = ".lock"  # held for as long as the folder's process lives


class NoRoom(EngineError):
    """Every slot for adapters is in use; there may be one in a moment."""


class Slots(Protocol):
    """The part of an engine that adapters are put into."""

    async def install(self, name: str, number: int, folder: Path) -> Any: ...

    async def uninstall(self, handle: Any) -> None: ...


@dataclass
class Installed:
    """An adapter in the engine. `handle` is the engine's own name for it."""

    name: str
    handle: Any
    folder: Path
    keys: tuple[Key, ...]
    rank: int
    users: int = 0
    idle_since: float = 0.0


@dataclass(frozen=True, slots=True)
class Made:
    """A merged adapter and the documents in it."""

    adapter: MergedAdapter
    keys: tuple[Key, ...]


class Installer:
    """At most `capacity` adapters at once."""

    def __init__(
        self, engine: Slots, capacity: int, grace_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._engine, self._capacity, self._grace, self._clock = engine, capacity, grace_seconds, clock
        self._ids = itertools.count(1)
        self._installed: dict[str, Installed] = {}
        self._coming: dict[str, asyncio.Task[None]] = {}
        self._gone: frozenset[str] = frozenset()
        root = Path(ram_folder() or tempfile.gettempdir())
        remove_abandoned(root)
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=root))
        self._lock = (self.folder / LOCK).open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def __len__(self) -> int:
        return len(self._installed)

    def __contains__(self, name: str) -> bool:
        return name in self._installed

    @asynccontextmanager
    async def use(self, name: str, make: Callable[[], Awaitable[Made]]) -> AsyncIterator[Installed]:
        """Hold the adapter of that name in the engine until the context is left; make and install it first where it is not there.

        Raises EngineError when the engine refuses it, NoRoom when all its slots are in use."""
        installed = await self._acquire(name, make)
        try:
            yield installed
        finally:
            installed.users -= 1
            installed.idle_since = self._clock()

    async def sweep(self) -> None:
        """Remove what has been idle for longer than the grace time, or holds a document that is gone."""
        now = self._clock()
        for adapter in list(self._installed.values()):
            if adapter.users == 0 and (now - adapter.idle_since >= self._grace or self._holds_gone(adapter)):
                await self._remove(adapter)

    async def forget(self, gone: Collection[str]) -> None:
        """Nothing that holds one of these documents is used again; what requests still use goes after the last of them."""
        self._gone = frozenset(gone)
        await self.sweep()

    def close(self) -> None:
        self._lock.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    async def _acquire(self, name: str, make: Callable[[], Awaitable[Made]]) -> Installed:
        while (installed := self._installed.get(name)) is None:
            if name not in self._coming:
                self._coming[name] = asyncio.create_task(self._install(name, make))
            await asyncio.shield(self._coming[name])  # whoever is cancelled leaves the others their adapter
        installed.users += 1
        return installed

    async def _install(self, name: str, make: Callable[[], Awaitable[Made]]) -> None:
        number = next(self._ids)
        folder = self.folder / str(number)
        try:
            made = await make()
            await self._make_room()
            await asyncio.to_thread(write_peft, made.adapter, folder)
            handle = await self._engine.install(name, number, folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            del self._coming[name]
        self._installed[name] = Installed(
            name, handle, folder, made.keys, made.adapter.rank, idle_since=self._clock()
        )

    async def _make_room(self) -> None:
        while len(self._installed) + len(self._coming) > self._capacity:
            idle = [adapter for adapter in self._installed.values() if adapter.users == 0]
            if not idle:
                raise NoRoom(f"all {self._capacity} adapters that the engine has room for are in use")
            await self._remove(min(idle, key=lambda adapter: adapter.idle_since))

    async def _remove(self, adapter: Installed) -> None:
        """Taken from the table first: nobody finds it while the engine forgets it."""
        if self._installed.get(adapter.name) is adapter:
            del self._installed[adapter.name]
        await self._engine.uninstall(adapter.handle)
        await asyncio.to_thread(shutil.rmtree, adapter.folder, ignore_errors=True)

    def _holds_gone(self, adapter: Installed) -> bool:
        return any(doc_id in self._gone for doc_id, _ in adapter.keys)


def remove_abandoned(root: Path) -> None:
    """Remove the folders whose process no longer lives: nobody holds their lock."""
    for folder in root.glob(f"{PREFIX}*"):
        with suppress(OSError), (folder / LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
