"""The lease of a run: a file that says when the run was last alive. gc keeps what the plan of a live run waits for."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from datetime import timedelta

from prag_core.bank.layout import run_path
from prag_core.bank.store import BankStore
from prag_core.storage import put_whole

logger = logging.getLogger(__name__)
LEASE_TIME = timedelta(minutes=15)  # a run that has not renewed its lease for so long is not alive


@contextlib.contextmanager
def hold_lease(store: BankStore, run: str, every: timedelta = LEASE_TIME / 5) -> Iterator[None]:
    """Renew the lease of a run while the block lasts, from a thread. A renewal that fails is logged, and made again at the next
    time."""
    path, over = store.path(run_path(run, "lease")), threading.Event()

    def renew() -> None:
        while True:
            try:
                put_whole(store.fs, path, b"alive\n")
            except Exception as error:  # whatever the store raises: the run itself will say so if it matters
                logger.warning("the lease of run %s could not be renewed: %s", run, error)
            if over.wait(every.total_seconds()):
                return

    thread = threading.Thread(target=renew, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
