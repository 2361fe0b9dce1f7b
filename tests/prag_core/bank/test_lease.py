from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from prag_core.bank.gc.collect import own_files
from prag_core.bank.gc.mark import live_runs
from prag_core.bank.lease import hold_lease
from tests.prag_core.bank.world import Filled


def test_a_run_is_alive_while_it_renews_its_lease(filled: Filled) -> None:
    with hold_lease(filled.bank, "run1", every=timedelta(milliseconds=20)):
        while "runs/run1/lease" not in own_files(filled.bank):
            time.sleep(0.01)
        first = own_files(filled.bank)["runs/run1/lease"]["mtime"]
        while own_files(filled.bank)["runs/run1/lease"]["mtime"] == first:
            time.sleep(0.01)
    files, now = own_files(filled.bank), datetime.now(UTC)
    assert live_runs(files, now) == {"run1"} and live_runs(files, now + timedelta(minutes=16)) == set()
