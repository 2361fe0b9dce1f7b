"""Results and seconds of a run's shards, kept with the run: BANK/runs/<run>/shards.json.

Sealed, and written when a run has ended and its snapshot is there, so that its presence says so. `shards` has an object a
shard: shard_id, num_documents, error (empty where all went well), and by stage `<stage>_num_documents`, `_num_failed`,
`_seconds`, `_reused`, `_tally`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prag_core.bank import Bank, Stage
from prag_core.bank.runs import SHARDS_FILE
from prag_core.bank.sealed import seal
from prag_core.errors import CorruptBankError
from prag_core.storage import list_files

REUSED, DOCUMENTS, SECONDS = (
    f"{Stage.adapters.value}_{field}" for field in ("reused", "num_documents", "seconds")
)
TALLY = f"{Stage.augmentations.value}_tally"


@dataclass(frozen=True)
class RunStats:
    """Totals of all runs of a bank that ended. `finished`: the newest is one of them, and none of its shards failed."""

    finished: bool
    trained: int  # adapters that these runs made
    train_seconds: float  # of one worker, writing included
    tally: Mapping[str, int]  # of their augmentations, see `checks.TALLIED`

    @property
    def seconds_per_document(self) -> float | None:
        return self.train_seconds / self.trained if self.trained else None


def write_run_stats(bank: Bank, run: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Keep the rows of a run's shards, as the pipeline gave them."""
    bank.write_run(run, SHARDS_FILE, seal({"shards": [dict(row) for row in rows]}))


def read_run_stats(bank: Bank) -> RunStats:
    """Read the totals of a bank's runs. Runs that were cut short have none."""
    files = list_files(bank.fs, bank.path("runs"))
    ended = sorted(name.split("/")[0] for name in files if name.endswith(f"/{SHARDS_FILE}"))
    rows = {run: _read_rows(bank, run) for run in ended}
    newest = max((name.split("/")[0] for name in files), default="")
    finished = newest in rows and not any(row["error"] for row in rows[newest])
    done = [row for run in ended for row in rows[run] if not row["error"] and not row[REUSED]]
    trained, seconds = sum(int(row[DOCUMENTS]) for row in done), sum(row[SECONDS] for row in done)
    return RunStats(finished, trained, seconds, sum_tallies(row for run in ended for row in rows[run]))


def sum_tallies(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Add up what the augmentation of shards counted."""
    total: Counter[str] = Counter()
    for row in rows:
        total.update(row.get(TALLY) or {})
    return {name: total[name] for name in total if total[name]}


def _read_rows(bank: Bank, run: str) -> list[dict[str, Any]]:
    """The rows of a run's shards. Raises CorruptBankError for anything else."""
    fields = bank.read_run_sealed(run, SHARDS_FILE)
    rows = fields if isinstance(fields, list) else fields["shards"]  # a list, when it was not sealed
    if not isinstance(rows, list) or not all(map(_is_row, rows)):
        raise CorruptBankError(f"{bank.uri}/runs/{run}/{SHARDS_FILE} is damaged; remove it")
    return rows


def _is_row(row: object) -> bool:
    if not isinstance(row, dict) or "error" not in row:
        return False
    counted = row.get(TALLY) or {}
    if not isinstance(counted, dict) or not all(isinstance(n, int) for n in counted.values()):
        return False
    numbers = [row.get(DOCUMENTS), row.get(SECONDS)]
    return bool(row["error"]) or (REUSED in row and all(isinstance(n, int | float) for n in numbers))
