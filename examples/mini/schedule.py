"""When the miniature model sees what: the curriculum and the learning rate, step by step.

A step is one micro-batch of `TOKENS` tokens for each entry of a stage's `batches`. Copying from one short passage has to
emerge before several passages teach anything, so the first stage shows little else; choosing among passages comes faster once
names are all that tells them apart (`match`).
"""

from __future__ import annotations

from dataclasses import dataclass

TOKENS = 4096
Tasks = dict[str, float]


@dataclass(frozen=True)
class Stage:
    """Up to step `until`: (row length, share of each opening task); `short` contexts show 1 to 3 facts a passage."""

    until: int
    batches: tuple[tuple[int, Tasks], ...]
    short: float


FIRST: Tasks = {"read-1": 0.85, "known": 0.1, "plain": 0.05}
RECALL: Tasks = {"known": 0.6, "read-1": 0.2, "years": 0.12, "plain": 0.08}
TWO: Tasks = {"read-1": 0.15, "read-2": 0.4, "read-3": 0.1, "chain-1": 0.05, "chain-2": 0.1, "rewrite": 0.1, "pairs": 0.1}
WRITE: Tasks = {"read-2": 0.25, "read-3": 0.2, "chain-2": 0.15, "rewrite": 0.2, "pairs": 0.2}
MANY: Tasks = {"read-3": 0.35, "read-4": 0.1, "read-5": 0.25, "chain-3": 0.15, "shots-2": 0.05, "shots-3": 0.1}
MATCH: Tasks = {"known": 0.4, "match-3": 0.1, "match-5": 0.18, "compare-2": 0.18, "read-1": 0.05, "years": 0.05, "plain": 0.04}
WRITE_MATCH: Tasks = {"match-5": 0.2, "compare-3": 0.1, "read-3": 0.2, "chain-2": 0.1, "rewrite": 0.15, "pairs": 0.25}
STAGES = (
    Stage(480, ((256, FIRST), (256, FIRST)), short=1.0),
    Stage(900, ((256, RECALL), (512, TWO)), short=0.4),
    Stage(1293, ((256, RECALL), (512, WRITE), (1024, MANY)), short=0.1),
    Stage(1_000_000, ((256, MATCH), (512, WRITE_MATCH), (1024, MANY)), short=0.1),
)


def stage_at(step: int) -> Stage:
    return next(stage for stage in STAGES if step < stage.until)


def learning_rate(step: int, steps: int, warmup: int = 60, decay: float = 0.3) -> float:
    """A factor: up over `warmup` steps, level, then down in a straight line to 0.03 over the last `decay` of `steps`.

    The level part does not depend on `steps`, so a run may be prolonged from a checkpoint and stay reproducible.
    """
    fade = (steps - step) / (decay * steps)
    return min((step + 1) / warmup, 1.0, max(fade, 0.03))
