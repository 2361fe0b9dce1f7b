"""Joining a Ray cluster, or starting one in this machine for the length of a command."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray

from prag_core.config.ray_access import open_cluster_warning
from prag_core.config.schema import RayConfig
from prag_core.errors import StorageError


@contextmanager
def ray_session(settings: RayConfig) -> Iterator[None]:
    """Ray at `ray.address`, at $RAY_ADDRESS (as under `ray job submit`), or else started here and stopped at the end. Within
    another session, that one."""
    if ray.is_initialized():
        yield
        return
    address = settings.address or os.environ.get("RAY_ADDRESS")
    starting: dict[str, Any] = {} if address else {"include_dashboard": False}
    os.environ.setdefault(
        "RAY_BACKEND_LOG_LEVEL", "fatal"
    )  # a killed worker is restarted; that is no news to a terminal
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **starting)
    except ConnectionError as error:
        raise StorageError(
            f"ray.address={address}: no Ray cluster answers there ({error}); start one or leave it out"
        ) from None
    if warning := open_cluster_warning(address, os.environ):
        print(warning, file=sys.stderr)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        with _terminable():
            yield
    finally:
        ray.shutdown()


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends the command as an interrupt does, with its workers; Ray's own handler aborts the process instead."""
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
