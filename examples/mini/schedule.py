"""The curriculum and the learning rate of the miniature model, step by step.

A step is one micro-batch of `TOKENS` tokens for each entry of a stage's `batches`. Copying from one short passage has to
emerge before several passages teach anything, so the first stage shows little else; choosing among passages comes faster once
names are all that tells them apart (`match`).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

TOKENS = 4096
Tasks = dict[str, float]


@dataclass(frozen=True)
class Stage:
    """Batches up to step `until`: (row length, share of each opening task); a share `short` of contexts has 1 to 3 facts each."""

    until: int
    batches: tuple[tuple[int, Tasks], ...]
    short: float


FIRST: Tasks = {"read-1": 0.85, "known": 0.1, "plain": 0.05}
RECALL: Tasks = {"known": 0.6, "read-1": 0.2, "years": 0.12, "plain": 0.08}
TWO: Tasks = {
    "read-1": 0.15,
    "read-2": 0.4,
    "read-3": 0.1,
    "chain-1": 0.05,
    "chain-2": 0.1,
    "rewrite": 0.1,
    "pairs": 0.1,
}
WRITE: Tasks = {"read-2": 0.25, "read-3": 0.2, "chain-2": 0.15, "rewrite": 0.2, "pairs": 0.2}
MANY: Tasks = {
    "read-3": 0.35,
    "read-4": 0.1,
    "read-5": 0.25,
    "chain-3": 0.15,
    "shots-2": 0.05,
    "shots-3": 0.1,
}
MATCH: Tasks = {
    "known": 0.4,
    "match-3": 0.1,
    "match-5": 0.18,
    "compare-2": 0.18,
    "read-1": 0.05,
    "years": 0.05,
    "plain": 0.04,
}
WRITE_MATCH: Tasks = {
    "match-5": 0.2,
    "compare-3": 0.1,
    "read-3": 0.2,
    "chain-2": 0.1,
    "rewrite": 0.15,
    "pairs": 0.25,
}
NAMES: Tasks = {
    "recite-2": 0.1,
    "recite-3": 0.25,
    "recite-5": 0.2,
    "match-2": 0.15,
    "match-3": 0.2,
    "known": 0.1,
}
NAMES_LONG: Tasks = {
    "recite-5": 0.25,
    "recite-9": 0.1,
    "prove-3": 0.15,
    "match-3": 0.15,
    "match-5": 0.2,
    "pairs": 0.15,
}
APPLY: Tasks = {
    "recite-5": 0.15,
    "match-2": 0.1,
    "match-3": 0.25,
    "match-5": 0.25,
    "known": 0.2,
    "compare-2": 0.05,
}
APPLY_LONG: Tasks = {
    "match-5": 0.2,
    "prove-3": 0.1,
    "read-2": 0.2,
    "read-3": 0.3,
    "pairs": 0.15,
    "recite-9": 0.05,
}
LAST: Tasks = {
    "known": 0.38,
    "match-3": 0.12,
    "match-5": 0.15,
    "compare-2": 0.22,
    "read-1": 0.03,
    "years": 0.06,
    "plain": 0.04,
}
LAST_LONG: Tasks = {
    "match-5": 0.1,
    "compare-3": 0.1,
    "prove-3": 0.05,
    "read-3": 0.2,
    "chain-2": 0.1,
    "rewrite": 0.2,
    "pairs": 0.25,
}
FINISH: Tasks = {
    "known": 0.4,
    "match-3": 0.15,
    "match-5": 0.2,
    "read-1": 0.1,
    "compare-2": 0.05,
    "years": 0.02,
    "plain": 0.08,
}
FINISH_LONG: Tasks = {
    "rewrite in order": 0.35,
    "pairs in order": 0.35,
    "read-3": 0.15,
    "chain-2": 0.05,
    "match-5": 0.1,
}
STAGES = (
    Stage(480, ((256, FIRST), (256, FIRST)), short=1.0),
    Stage(900, ((256, RECALL), (512, TWO)), short=0.4),
    Stage(1293, ((256, RECALL), (512, WRITE), (1024, MANY)), short=0.1),
    Stage(1677, ((256, MATCH), (512, WRITE_MATCH), (1024, MANY)), short=0.1),
    Stage(2101, ((256, NAMES), (512, NAMES_LONG)), short=0.1),
    Stage(2400, ((256, APPLY), (512, APPLY_LONG)), short=0.1),
    Stage(2800, ((256, LAST), (512, LAST_LONG), (1024, MANY)), short=0.1),
    Stage(3300, ((256, FINISH), (512, FINISH_LONG), (1024, MANY)), short=0.1),
)
# (step, factor on the learning rates), straight lines between: one cautious descent was taken back at step 1677.
RATES = (
    (0, 1 / 60),
    (59, 1.0),
    (1435, 1.0),
    (1676, 0.61),
    (1677, 1.0),
    (2450, 1.0),
    (2800, 0.02),
    (2840, 0.5),
    (3000, 0.5),
    (3300, 0.02),
)


def stage_at(step: int) -> Stage:
    return next(stage for stage in STAGES if step < stage.until)


def learning_rate(step: int) -> float:
    """Return the factor on both optimisers' learning rates."""
    for (start, low), (end, high) in pairwise(RATES):
        if step <= end:
            return low + (high - low) * (step - start) / (end - start)
    return RATES[-1][1]
