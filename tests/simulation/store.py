"""The simulated store: objects in memory behind fsspec's interface, every operation of which the scheduler may interrupt.

A read sees every write that has ended, as on S3 and on file systems, and an object is seen whole or not at all. What stores
differ in is a `Flavor`: whether a conditional put excludes, how a listing is cut into requests, what it says of a missing object.
"""

from __future__ import annotations

import errno
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

from fsspec import AbstractFileSystem


@dataclass(frozen=True)
class Flavor:
    """How a store behaves. `exclusive`: of two racing creates one wins, else the later stays and both are told that they won.
    `page`: objects that a request lists; None lists folder by folder, as a walk of a file system does. `strict`: to remove a
    missing object is an error. `resolution`: seconds to which times of modification are rounded down."""

    name: str
    exclusive: bool
    page: int | None
    strict: bool
    resolution: float


FOLDER = Flavor("folder", exclusive=True, page=None, strict=True, resolution=1e-6)
S3 = Flavor("s3", exclusive=True, page=8, strict=False, resolution=1.0)
SWIFT = Flavor("swift", exclusive=False, page=8, strict=False, resolution=1.0)
FLAVORS = {flavor.name: flavor for flavor in (FOLDER, S3, SWIFT)}


class Stored(NamedTuple):
    """An object as it lies in the store. `step`: when it was written."""

    data: bytes
    time: float
    step: int


class Calls(Protocol):
    """What the store needs of the scheduler."""

    clock: float
    step: int
    flavor: Flavor

    def current(self) -> object | None:
        """The actor at work, if one is."""

    def call(self, verb: str, path: str, effect: Callable[[int], Any]) -> Any:
        """Let others go first, then return `effect(step at which the call began)`, unless a fault comes between."""


class SimulatedFileSystem(AbstractFileSystem):
    """Every simulation's store, under `sim://`. `objects` and `calls` belong to the simulation that runs now."""

    protocol = "sim"
    cachable = False
    root_marker = ""
    objects: ClassVar[dict[str, Stored]] = {}
    calls: ClassVar[Calls]

    # -- reading ------------------------------------------------------------------------------------------------------

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        return self.calls.call("get", path, lambda _: self._get(path).data[slice(start, end)])

    def cat_ranges(
        self, paths: Sequence[str], starts: Any, ends: Any, on_error: str = "return", **_: Any
    ) -> list[Any]:
        contents: list[Any] = []
        for path, start, end in zip(paths, starts, ends, strict=True):
            try:
                contents.append(self.cat_file(path, start, end))
            except OSError as error:
                if on_error == "raise":
                    raise
                contents.append(error)
        return contents

    def open(self, path: str, mode: str = "rb", **_: Any) -> Any:
        """Open for reading as a client of S3 does: one request for the size, one for the bytes, whose failure the reader sees."""
        assert mode == "rb", "the bank writes whole objects"
        self.info(path)
        try:
            return io.BytesIO(self.cat_file(path))
        except OSError as error:
            return _Failing(error)

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        return self.calls.call("head", path, lambda _: self._about(path))

    def exists(self, path: str, **_: Any) -> bool:
        return self.calls.call("head", path, lambda _: path in self.objects)

    def isfile(self, path: str) -> bool:
        return self.exists(path)

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        found = self.calls.call("list", path, lambda _: self._children(path))
        if not found:
            raise FileNotFoundError(errno.ENOENT, "no such folder", path)
        return found if detail else [info["name"] for info in found]

    def find(
        self, path: str, maxdepth: Any = None, withdirs: bool = False, detail: bool = False, **options: Any
    ) -> Any:
        """List all files under a path in several requests, between which the store may change."""
        if self.calls.current() is None:
            start = f"{path.rstrip('/')}/{options.get('prefix', '')}"
            names = [name for name in self.objects if name.startswith(start)]
            walk: Iterable[dict[str, Any]] = map(self._about, sorted(names))
        elif self.calls.flavor.page:
            walk = self._pages(path, options.get("prefix", ""))
        else:
            walk = self._walk(path)
        found = {info["name"]: info for info in walk}
        return found if detail else list(found)

    def _pages(self, path: str, prefix: str) -> Iterator[dict[str, Any]]:
        start, last, more = f"{path.rstrip('/')}/{prefix}", "", True
        while more:
            names, more = self.calls.call("list", start, lambda _, last=last: self._page(start, last))  # type: ignore[misc]
            yield from names
            last = names[-1]["name"] if names else ""

    def _page(self, start: str, last: str) -> tuple[list[dict[str, Any]], bool]:
        size = self.calls.flavor.page or 0
        names = sorted(name for name in self.objects if name.startswith(start) and name > last)
        return [self._about(name) for name in names[:size]], len(names) > size

    def _walk(self, path: str) -> Iterator[dict[str, Any]]:
        for info in self.calls.call("list", path, lambda _: self._children(path)):
            if info["type"] == "file":
                yield info
            else:
                yield from self._walk(info["name"])

    def _children(self, path: str) -> list[dict[str, Any]]:
        start = f"{path.rstrip('/')}/"
        inner = sorted(name[len(start) :] for name in self.objects if name.startswith(start))
        folders = dict.fromkeys(name.split("/")[0] for name in inner if "/" in name)
        return [
            *(self._about(start + name) for name in inner if "/" not in name),
            *({"name": start + name, "type": "directory", "size": 0} for name in folders),
        ]

    def _get(self, path: str) -> Stored:
        try:
            return self.objects[path]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, "no such object", path) from None

    def _about(self, path: str) -> dict[str, Any]:
        stored = self._get(path)
        resolution = self.calls.flavor.resolution
        time = stored.time // resolution * resolution
        return {"name": path, "type": "file", "size": len(stored.data), "mtime": time}

    # -- writing ------------------------------------------------------------------------------------------------------

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        data = bytes(value)
        verb = "create" if mode == "create" else "put"
        self.calls.call(verb, path, lambda began: self._put(path, data, began, absent=mode == "create"))

    def put_file(
        self, lpath: str, rpath: str, callback: Any = None, mode: str = "overwrite", **_: Any
    ) -> None:
        self.pipe_file(rpath, Path(lpath).read_bytes(), mode)

    def rm_file(self, path: str) -> None:
        self.calls.call("remove", path, lambda _: self._remove(path))

    def rm(self, path: str | Sequence[str], recursive: bool = False, maxdepth: Any = None) -> None:
        for name in [path] if isinstance(path, str) else path:
            self.rm_file(name)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        pass

    def _put(self, path: str, data: bytes, began: int, *, absent: bool) -> None:
        there = self.objects.get(path)
        raced = there is not None and there.step > began and not self.calls.flavor.exclusive
        if absent and there is not None and not raced:
            raise FileExistsError(errno.EEXIST, "the object exists", path)
        self.objects[path] = Stored(data, self.calls.clock, self.calls.step)

    def _remove(self, path: str) -> None:
        if self.objects.pop(path, None) is None and self.calls.flavor.strict:
            raise FileNotFoundError(errno.ENOENT, "no such object", path)


class _Failing(io.RawIOBase):
    """A file whose bytes could not be read."""

    def __init__(self, error: OSError) -> None:
        self.error = error

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, *_: Any) -> int:
        raise self.error

    def read(self, *_: Any) -> bytes:
        raise self.error

    def tell(self) -> int:
        return 0
