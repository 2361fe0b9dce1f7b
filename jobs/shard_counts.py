"""How many documents each stage is done with so far: the workers on Ray report to an actor, the command reads it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import ray
from ray.exceptions import RayError

PATIENCE = 5.0  # seconds that a reader waits for the actor


class Tally:
    """The documents of each shard that a stage is done with. A shard that is tried again is counted anew."""

    def __init__(self) -> None:
        self._done: dict[tuple[str, str], int] = {}

    def note(self, stage: str, shard_id: str, documents: int) -> None:
        self._done[stage, shard_id] = documents

    def by_stage(self) -> dict[str, int]:
        total: Counter[str] = Counter()
        for (stage, _), documents in self._done.items():
            total[stage] += documents
        return dict(total)


class ShardCounts:
    """A tally in an actor of its own, for all workers of a run. Without it progress is not shown, and nothing else is missing."""

    def __init__(self) -> None:
        self._tally: Any = ray.remote(num_cpus=0)(Tally).remote()

    def report(self, stage: str, shard_id: str, documents: int) -> None:
        """Note how many documents of a shard a stage is done with; does not wait."""
        self._tally.note.remote(stage, shard_id, documents)

    def read(self) -> dict[str, int]:
        """Return the documents that each stage is done with, by its name; nothing where the actor does not answer."""
        try:
            counts: dict[str, int] = ray.get(self._tally.by_stage.remote(), timeout=PATIENCE)
        except RayError:
            return {}
        return counts
