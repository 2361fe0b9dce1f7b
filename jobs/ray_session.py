"""Join a Ray cluster, or start one on this machine for the length of a command."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray

from prag_core.config.ray_access import open_cluster_warning
from prag_core.config.schema import RayConfig
from prag_core.errors import StorageError
from prag_core.terminal.streams import warn


@contextmanager
def ray_session(settings: RayConfig) -> Iterator[None]:
    """Connect to Ray at `ray.address`, at $RAY_ADDRESS (as under `ray job submit`), or else start it here and stop it at the
    end. Within another session, use that one."""
    if ray.is_initialized():
        yield
        return
    address = settings.address or os.environ.get("RAY_ADDRESS")
    starting: dict[str, Any] = {} if address else {"include_dashboard": False}
    try:
        ray.init(address, **starting)
    except ConnectionError as error:
        raise StorageError(
            f"ray.address={address}: no Ray cluster answers there ({error}); start one or leave it out"
        ) from None
    if warning := open_cluster_warning(address, os.environ):
        warn(warning)
    try:
        with _terminable():
            yield
    finally:
        ray.shutdown()


@contextmanager
def _terminable() -> Iterator[None]:
    """End the command on SIGTERM as on an interrupt, with its workers; Ray's own handler aborts the process instead."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _interrupt(number: int, _: object) -> None:
    raise KeyboardInterrupt(number)
