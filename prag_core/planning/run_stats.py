"""Results and seconds of a run's shards, kept with the run: BANK/runs/<run>/shards.json.

Written when a run has ended and its snapshot is there, so that its presence says so. A list with an object a shard: shard_id,
num_documents, error (empty where all went well), and by stage `<stage>_num_documents`, `_num_failed`, `_seconds`, `_reused`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prag_core.bank import Bank, Stage
from prag_core.storage import list_files

SHARDS_FILE = "shards.json"


@dataclass(frozen=True)
class RunStats:
    """Totals of all runs of a bank that ended. `finished`: the newest is one of them, and none of its shards failed."""

    finished: bool
    trained: int  # adapters that these runs made
    train_seconds: float  # of one worker, writing included

    @property
    def seconds_per_document(self) -> float | None:
        return self.train_seconds / self.trained if self.trained else None


def write_run_stats(bank: Bank, run: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Keep the rows of a run's shards, as the pipeline gave them."""
    bank.write_run(run, SHARDS_FILE, (json.dumps([dict(row) for row in rows], indent=1) + "\n").encode())


def read_run_stats(bank: Bank) -> RunStats:
    """Read the totals of a bank's runs. Runs that were cut short have none."""
    files = list_files(bank.fs, bank.path("runs"))
    ended = sorted(name.split("/")[0] for name in files if name.endswith(f"/{SHARDS_FILE}"))
    rows = {run: json.loads(bank.read_run(run, SHARDS_FILE)) for run in ended}
    newest = max((name.split("/")[0] for name in files), default="")
    finished = newest in rows and not any(row["error"] for row in rows[newest])
    stage = Stage.adapters.value
    done = [row for run in ended for row in rows[run] if not row["error"] and not row[f"{stage}_reused"]]
    seconds, trained = (
        sum(row[f"{stage}_{field}"] for row in done) for field in ("seconds", "num_documents")
    )
    return RunStats(finished, int(trained), float(seconds))
