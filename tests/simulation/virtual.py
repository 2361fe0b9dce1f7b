"""Time, chance and threads of the bank's code, replaced by the simulation's own so that a seed decides everything."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pkgutil
import random
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, tzinfo
from typing import Any, Protocol

import prag_core.bank
import prag_core.storage
from prag_core.bank import sealed, tables

MEMORY = "/dev/shm"  # temporary files go there, where there is one
REMEMBERED = 4096


class Source(Protocol):
    """What the bank's code is given instead of the machine's clock and dice."""

    def now(self) -> float:
        """The time that the actor's clock shows."""

    def elapsed(self) -> float:
        """Seconds that really passed."""

    def sleep(self, seconds: float) -> None: ...

    @property
    def chance(self) -> random.Random: ...


class _Instead:
    """A module with some names replaced."""

    def __init__(self, module: Any, **names: Any) -> None:
        self._module = module
        vars(self).update(names)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


class InlineExecutor:
    """Runs everything at once, in the caller."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __enter__(self) -> InlineExecutor:
        return self

    def __exit__(self, *_: Any) -> None:
        pass

    def submit(self, work: Callable[..., Any], *arguments: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(work(*arguments, **named))
        except Exception as error:
            future.set_exception(error)
        return future

    def map(self, work: Callable[..., Any], *arguments: Iterable[Any], **_: Any) -> Iterator[Any]:
        return iter([work(*each) for each in zip(*arguments, strict=False)])

    def shutdown(self, *_: Any, **__: Any) -> None:
        pass


@contextlib.contextmanager
def installed(source: Callable[[], Source]) -> Iterator[None]:
    """Replace clock, chance, threads and fsync in every module of the bank and its storage, and remember what bytes decode
    to. `source()`: the running simulation."""
    undo: list[tuple[Any, str, Any]] = []
    replacements = _replacements(source)
    for module in _modules():
        for name, value in list(vars(module).items()):
            if _hashable(value) and value in replacements:
                undo.append((module, name, value))
                setattr(module, name, replacements[value])
    folder, tempfile.tempdir = tempfile.tempdir, MEMORY if os.path.isdir(MEMORY) else None
    try:
        yield
    finally:
        tempfile.tempdir = folder
        for module, name, value in undo:
            setattr(module, name, value)


def _replacements(source: Callable[[], Source]) -> dict[Any, Any]:
    class VirtualDatetime(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.fromtimestamp(source().now(), tz)

    def uuid4() -> uuid.UUID:
        return uuid.UUID(int=source().chance.getrandbits(128), version=4)

    def sleep(seconds: float) -> None:
        source().sleep(seconds)

    def elapsed() -> float:
        return source().elapsed()

    def now() -> float:
        return source().now()

    def draw(name: str) -> Callable[..., Any]:
        return lambda *arguments: getattr(source().chance, name)(*arguments)

    clocks = {"sleep": sleep, "time": now, "monotonic": elapsed, "perf_counter": elapsed}
    dice = {name: draw(name) for name in ("random", "uniform", "randrange", "choice", "expovariate")}
    return {
        time: _Instead(time, **clocks),
        time.sleep: sleep,
        time.time: now,
        time.monotonic: elapsed,
        datetime: VirtualDatetime,
        uuid: _Instead(uuid, uuid4=uuid4),
        uuid.uuid4: uuid4,
        random: _Instead(random, **dice),
        random.random: dice["random"],
        os: _Instead(os, fsync=lambda _: None),
        ThreadPoolExecutor: InlineExecutor,
        tables.from_parquet: _remember(tables.from_parquet, lambda table: lambda _: table),
        sealed.unseal: _remember(sealed.unseal, lambda _: _without_seal),
    }


def _remember(
    decode: Callable[..., Any], keep: Callable[[Any], Callable[[bytes], Any]]
) -> Callable[..., Any]:
    """Decode the same bytes once: `keep` makes what answers the next time. Errors are not kept."""
    known: dict[bytes, Callable[[bytes], Any]] = {}

    def remembered(data: bytes, name: str) -> Any:
        if data in known:
            return known[data](data)
        result = decode(data, name)
        if len(known) >= REMEMBERED:
            known.clear()
        known[data] = keep(result)
        return result

    return remembered


def _without_seal(data: bytes) -> dict[str, Any]:
    fields = json.loads(data)
    del fields["sha256"]
    return dict(fields)


def _modules() -> list[Any]:
    for package in (prag_core.bank, prag_core.storage):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(found.name)
    return [
        module
        for name, module in sys.modules.items()
        if name.startswith(("prag_core.bank", "prag_core.storage"))
    ]


def _hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True
