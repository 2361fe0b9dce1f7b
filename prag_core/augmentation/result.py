"""What augmentation gives for a batch of documents."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from prag_core.records import Augmentation, Failure, Key

Count = Callable[[Iterable[Key]], object]  # takes the documents about which no more is asked


class AugmentResult(NamedTuple):
    """The outcome for a batch: each document is in exactly one of the two lists, in the order given. `tally` has how many pairs
    and rewrites were written, and how many of them a check found fault with, by reason (see `checks`)."""

    augmentations: list[Augmentation]
    failures: list[Failure]
    tally: Mapping[str, int] = {}
