"""How far a run is, how fast it goes, and how long it still takes, said between the ends of its shards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

from prag_core.bank import Stage

LINE_EVERY = 60.0  # seconds between the lines of a log


@dataclass
class Pace:
    """The pace of a run over `num_documents`, asked with the documents that each stage is done with, by the stage's name, and the
    time in seconds of any one clock. A stage's rate counts from when it was first heard of."""

    num_documents: int
    _begun: dict[str, tuple[float, int]] = field(default_factory=dict)  # stage → time, documents then
    _next_line: float = -inf

    def note(self, done: Mapping[str, int], now: float) -> str:
        """Return documents written (augmented) and trained, the rate of training, and the time left by the slower stage, once
        both have a rate; nothing before the first document is done."""
        for stage, documents in done.items():
            self._begun.setdefault(stage, (now, documents))
        if not any(done.values()):
            return ""
        written, trained = (done.get(stage.value, 0) for stage in (Stage.augmentations, Stage.adapters))
        rate = self._rate(Stage.adapters, trained, now)
        text = f"{written:,} of {self.num_documents:,} documents written, {trained:,} trained"
        left = max(self._left(Stage.augmentations, written, now), self._left(Stage.adapters, trained, now))
        return (
            text
            + (f" ({rate:.2f}/s)" if rate else "")
            + (f", {duration(left)} left" if 0 < left < inf else "")
        )

    def line(self, done: Mapping[str, int], now: float) -> str:
        """Return the note where a log is due one, with the first documents and every minute from then; else nothing."""
        note = self.note(done, now)
        if not note or now < self._next_line:
            return ""
        self._next_line = now + LINE_EVERY
        return note

    def _rate(self, stage: Stage, documents: int, now: float) -> float:
        since, before = self._begun.get(stage.value, (now, 0))
        return (documents - before) / (now - since) if now > since else 0.0

    def _left(self, stage: Stage, documents: int, now: float) -> float:
        """Seconds that a stage still takes; infinite while it has no rate."""
        remaining, rate = self.num_documents - documents, self._rate(stage, documents, now)
        return 0.0 if remaining <= 0 else remaining / rate if rate else inf


def duration(seconds: float) -> str:
    """Say a duration as one reads it: 40 s, 12 min, 3 h 5 min."""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
