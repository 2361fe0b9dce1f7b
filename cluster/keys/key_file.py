"""The key file: a YAML or JSON list of entries. Every mistake is named; the file is replaced atomically and watched for changes.

keys:
- id: 5f0c93ab
  name: acme                        # for people
  salt: …
  sha256: …
  requests_per_minute: 60           # no limit where one of these three is absent
  tokens_per_minute: 20000
  concurrent: 4
  filter: {tenant: acme}            # absent: every document
  expires: 2030-01-31T00:00:00Z     # absent: never
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import yaml

from cluster.keys.keys import ApiKey, KeyRing, Limits
from prag_core.errors import ConfigError
from prag_core.retrieval.filters import Filter

LOGGER = logging.getLogger(__name__)
CHECK_SECONDS = 1.0  # between two checks whether the file has changed


class WatchedKeys:
    """The keys of a file as it is now: a removed key stops working within a second, an added one works.

    A file that can no longer be read as keys leaves the last good ones valid and is logged as an error; a file that is
    gone leaves none. Raises ConfigError from the constructor only.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._clock = path, clock
        self._seen, self._keys = _version(path), load_keys(path)
        self._checked = clock()

    def current(self) -> KeyRing:
        """Return the keys, read again if the file has changed."""
        if self._clock() - self._checked >= CHECK_SECONDS:
            self._checked = self._clock()
            self._reload_if_changed()
        return self._keys

    def _reload_if_changed(self) -> None:
        version = _version(self._path)
        if version == self._seen:
            return
        self._seen = version
        if version is None:
            LOGGER.error("%s is gone: no API key is valid until it is back", self._path)
            self._keys = KeyRing([])
            return
        try:
            self._keys = load_keys(self._path)
            LOGGER.info("%s has changed and has %d API keys", self._path, len(self._keys))
        except ConfigError as error:
            LOGGER.error("the API keys stay as they were, because the changed file is not valid: %s", error)


def _version(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def read_entry(entry: Any, source: str) -> ApiKey:
    """Parse an entry of a key file. Raises ConfigError with `source` and what is wrong."""
    if not isinstance(entry, dict):
        raise ConfigError(
            f"{source}: expected an entry with id, name, salt and sha256, as prag keys add writes it"
        )
    known = ["id", "name", "salt", "sha256", "filter", "expires", *(field.name for field in fields(Limits))]
    if unknown := [name for name in entry if name not in known]:
        raise ConfigError(f"{source}: unknown field {unknown[0]!r}; an entry has {', '.join(known)}")
    key_id, name, salt, sha256 = (_text(entry, field, source) for field in ("id", "name", "salt", "sha256"))
    if not key_id or len(sha256) != 64:
        raise ConfigError(f"{source}: id or sha256 is not what prag keys add writes; make the key again")
    limits = Limits(**{field.name: _count(entry, field.name, source) for field in fields(Limits)})
    try:
        documents = None if entry.get("filter") is None else Filter.parse(entry["filter"])
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None
    return ApiKey(
        id=key_id,
        name=name,
        salt=salt,
        sha256=sha256,
        limits=limits,
        filter=documents,
        expires=read_moment(entry.get("expires"), source),
    )


def _text(entry: dict[str, Any], name: str, source: str) -> str:
    if not isinstance(value := entry.get(name), str):
        raise ConfigError(
            f"{source}: {name} is {value!r}, expected text (in quotes where it could be read as a number)"
        )
    return value


def _count(entry: dict[str, Any], name: str, source: str) -> int | None:
    value = entry.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise ConfigError(
            f"{source}: {name} is {value!r}, expected a whole number of at least 1, or nothing for no limit"
        )
    return value


def read_moment(value: Any, source: str) -> datetime | None:
    """Parse a date or time of expiry: UTC unless it has a zone; a date alone is its first moment."""
    if value is None:
        return None
    try:
        moment = value if isinstance(value, date) else datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise ConfigError(
            f"{source}: expires is {value!r}, expected a date such as 2030-01-31 or 2030-01-31T12:00:00Z"
        ) from None
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def read_entries(path: Path) -> list[Any]:
    """Read the unparsed entries of a key file (YAML or JSON). Raises ConfigError when it is not one."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: no such key file; create it with prag keys add {path} --name NAME"
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: not readable as YAML or JSON: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict) or list(content) != ["keys"] or not isinstance(content["keys"], list):
        raise ConfigError(f"{path}: expected a mapping with one list, keys: […]")
    return content["keys"]


def load_keys(path: Path) -> KeyRing:
    """Read and check the keys of a file. Raises ConfigError naming the entry that cannot be used."""
    return KeyRing(
        read_entry(entry, f"{path}: key {number}") for number, entry in enumerate(read_entries(path), 1)
    )


def write_entries(path: Path, entries: list[Any]) -> None:
    """Replace a key file atomically, as YAML, or as JSON if its name ends so; only its owner may read it."""
    content = {"keys": entries}
    text = json.dumps(content, indent=2, ensure_ascii=False) if path.suffix == ".json" else _as_yaml(content)
    descriptor, temporary = tempfile.mkstemp(prefix=".tmp-", dir=path.parent)  # mode 600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _as_yaml(content: Any) -> str:
    return str(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


@contextmanager
def editing(path: Path) -> Iterator[None]:
    """Lock the folder of a key file, so that of two edits at once none is lost."""
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)
