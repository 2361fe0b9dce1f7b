"""What Prometheus is told: how long each stage takes, what the caches do, how many requests come, wait, fail and degrade.

Served by Ray on every node's metrics port, each name with the prefix `ray_`. No document, adapter, key or text is ever
in a label: labels have few values, known beforehand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray.serve import metrics

SECONDS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60]


class GeneratorMetrics:
    """Of one engine's replica."""

    def __init__(self) -> None:
        self._stages = stages()
        self._hits = metrics.Counter("prag_adapter_cache_hits", "adapters that were in memory")
        self._misses = metrics.Counter("prag_adapter_cache_misses", "adapters that had to be read")
        self._bytes = metrics.Gauge("prag_adapter_cache_bytes", "bytes of adapters in memory")
        self._degraded = metrics.Counter(
            "prag_degraded_documents", "documents shown as text for want of an adapter"
        )
        self._retrievals = metrics.Counter("prag_retrievals", "retrievals of answers", tag_keys=("method",))

    def fetched(self, hits: int, misses: int, num_bytes: int) -> None:
        count(self._hits, hits)
        count(self._misses, misses)
        self._bytes.set(num_bytes)

    def prepared(
        self, milliseconds: Mapping[str, float], method: str, degraded: int, retrievals: int
    ) -> None:
        observe(self._stages, milliseconds, method)
        count(self._degraded, degraded)
        count(self._retrievals, retrievals, method=method)


class IngressMetrics:
    """Of one ingress."""

    def __init__(self) -> None:
        self._stages = stages()
        self._requests = metrics.Counter("prag_requests", "requests by HTTP status", tag_keys=("status",))
        self._rejected = metrics.Counter("prag_rejected", "requests turned away", tag_keys=("reason",))
        self._in_flight = metrics.Gauge("prag_in_flight", "requests being answered")
        self._now = 0

    def began(self) -> None:
        self._now += 1
        self._in_flight.set(self._now)

    def ended(self, status: int, reason: str | None) -> None:
        self._now -= 1
        self._in_flight.set(self._now)
        self._requests.inc(tags={"status": str(status)})
        if reason is not None:
            self._rejected.inc(tags={"reason": reason})

    def answered(self, milliseconds: Mapping[str, float], method: str) -> None:
        observe(self._stages, milliseconds, method)


def stages() -> metrics.Histogram:
    tags: Any = ("stage", "method")
    return metrics.Histogram(
        "prag_stage_seconds", "seconds of a request by stage", boundaries=SECONDS, tag_keys=tags
    )


def observe(histogram: metrics.Histogram, milliseconds: Mapping[str, float], method: str) -> None:
    for stage, value in milliseconds.items():
        histogram.observe(max(value, 0.0) / 1000, tags={"stage": stage, "method": method})


def count(counter: metrics.Counter, number: int, **labels: str) -> None:
    if number:
        counter.inc(number, tags=labels)
