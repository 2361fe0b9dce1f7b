"""What augmentation gives for a batch of documents."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from prag_core.records import Augmentation, Document, Failure, Key, QAPair

Count = Callable[[Iterable[Key]], object]  # takes the documents about which no more is asked


class AugmentResult(NamedTuple):
    """The outcome for a batch: each document is in exactly one of the two lists, in the order given. `tally` has how many pairs
    and rewrites were written, and how many of them a check found fault with, by reason (see `checks`)."""

    augmentations: list[Augmentation]
    failures: list[Failure]
    tally: Mapping[str, int] = {}

    def with_pairs(
        self, made: Sequence[Sequence[QAPair] | Failure], documents: Sequence[Document]
    ) -> AugmentResult:
        """Return the outcome for `documents` with each augmentation's pairs, or its failure, at its place in `made`."""
        found = list(zip(self.augmentations, made, strict=True))
        failures = [*self.failures, *(pairs for _, pairs in found if isinstance(pairs, Failure))]
        order = {document.key: place for place, document in enumerate(documents)}
        return self._replace(
            augmentations=[
                replace(augmentation, qa_pairs=tuple(pairs))
                for augmentation, pairs in found
                if not isinstance(pairs, Failure)
            ],
            failures=sorted(failures, key=lambda failure: order[failure.key]),
        )
