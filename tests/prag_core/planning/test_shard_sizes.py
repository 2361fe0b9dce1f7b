"""Every actor has work where there are documents enough, no shard is larger than allowed, and none is needlessly small."""

from __future__ import annotations

import pytest

from prag_core.config.schema import BankConfig, RayConfig
from prag_core.planning.shard_sizes import FEWEST_DOCUMENTS, ShardSizes


def sizes(largest: int = 512, augment: int = 1, train: int = 1) -> ShardSizes:
    return ShardSizes.of(
        BankConfig(shard_documents=largest), RayConfig(augment_actors=augment, train_actors=train), 1
    )


@pytest.mark.parametrize(
    ("documents", "augment", "train", "expected"),
    [
        (0, 1, 1, []),
        (7, 1, 1, [7]),
        (15, 1, 1, [15]),
        (17, 1, 1, [9, 8]),
        (120, 1, 1, [60, 60]),
        (120, 1, 2, [30] * 4),
        (120, 4, 1, [15] * 8),
        (26, 1, 4, [9, 9, 8]),
    ],
)
def test_a_small_corpus_is_cut_evenly_for_the_larger_pool(
    documents: int, augment: int, train: int, expected: list[int]
) -> None:
    assert sizes(augment=augment, train=train).evenly(documents) == expected


@pytest.mark.parametrize("largest", [1, 3, 9, 64, 512])
@pytest.mark.parametrize("actors", [1, 2, 5])
def test_no_shard_is_too_large_or_needlessly_small_and_every_document_is_in_one(
    largest: int, actors: int
) -> None:
    found = sizes(largest, train=actors)
    for documents in range(1, 300):
        cut = found.evenly(documents)
        assert sum(cut) == documents and max(cut) <= largest and max(cut) - min(cut) <= 1
        assert len(cut) >= min(2 * actors, documents // FEWEST_DOCUMENTS)
        assert min(cut) >= FEWEST_DOCUMENTS or len(cut) == -(-documents // largest)
        if found.are_enough(documents):
            assert -(-documents // largest) >= found.wanted


def test_a_shards_adapters_are_no_larger_than_its_megabytes() -> None:
    assert ShardSizes.of(BankConfig(shard_megabytes=3), RayConfig(), 2**20).largest == 3
    assert ShardSizes.of(BankConfig(shard_megabytes=1), RayConfig(), 2**21).largest == 1
