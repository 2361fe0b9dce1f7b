"""How many documents a shard gets, so that every actor of a run has work.

A corpus that fills enough shards is cut into full ones. A smaller one is cut evenly, into two shards for each actor of the larger
pool: while one is trained, the next is augmented. It is not cut into shards of less than eight documents for that: documents are
trained together, fewer at once are slower, and every shard costs the same objects and commits, however small.
"""

from __future__ import annotations

from dataclasses import dataclass

from prag_core.config.schema import BankConfig, RayConfig

SHARDS_AN_ACTOR = 2
FEWEST_DOCUMENTS = 8


@dataclass(frozen=True)
class ShardSizes:
    """The most documents of a shard, and the number of shards that gives every actor work."""

    largest: int
    wanted: int

    @classmethod
    def of(cls, bank: BankConfig, ray: RayConfig, adapter_bytes: int) -> ShardSizes:
        largest = max(1, min(bank.shard_documents, bank.shard_megabytes * 2**20 // adapter_bytes))
        return cls(largest, SHARDS_AN_ACTOR * max(ray.augment_actors, ray.train_actors))

    def are_enough(self, num_documents: int) -> bool:
        """Whether so many documents make as many shards as are wanted, if all but the last are full."""
        return num_documents > (self.wanted - 1) * self.largest

    def evenly(self, num_documents: int) -> list[int]:
        """Return the sizes of the shards of a corpus that does not fill as many as are wanted, larger ones first."""
        full = -(-num_documents // self.largest)
        count = max(full, min(self.wanted, num_documents // FEWEST_DOCUMENTS))
        return [num_documents // count + (i < num_documents % count) for i in range(count)] if count else []
