"""What is counted, and under which labels."""

from __future__ import annotations

from typing import Any

import pytest

from cluster import metrics


class Recorded:
    """A metric that keeps what it is told."""

    made: dict[str, Recorded]

    def __init__(self, name: str, description: str, **more: Any) -> None:
        self.tag_keys, self.told = set(more.get("tag_keys", ())), list[tuple[float, dict[str, str]]]()
        Recorded.made[name] = self

    def inc(self, value: float = 1.0, tags: dict[str, str] | None = None) -> None:
        self.observe(value, tags)

    def set(self, value: float, tags: dict[str, str] | None = None) -> None:
        self.observe(value, tags)

    def observe(self, value: float, tags: dict[str, str] | None = None) -> None:
        assert set(tags or {}) == self.tag_keys
        self.told.append((value, tags or {}))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> dict[str, Recorded]:
    Recorded.made = {}
    for kind in ("Counter", "Gauge", "Histogram"):
        monkeypatch.setattr(f"cluster.metrics.metrics.{kind}", Recorded)
    return Recorded.made


def test_requests_in_flight_rise_and_fall_and_refusals_have_a_reason(made: dict[str, Recorded]) -> None:
    ingress = metrics.IngressMetrics()
    for _ in range(2):
        ingress.began()
    ingress.ended(200, None)
    ingress.ended(503, "overloaded")
    assert [value for value, _ in made["prag_in_flight"].told] == [1, 2, 1, 0]
    assert [tags["status"] for _, tags in made["prag_requests"].told] == ["200", "503"]
    assert made["prag_rejected"].told == [(1.0, {"reason": "overloaded"})]


def test_stages_are_seconds_by_method_and_never_negative(made: dict[str, Recorded]) -> None:
    metrics.IngressMetrics().answered({"total": 1500.0, "install": -0.01}, "prag")
    tags = {"stage": "total", "method": "prag"}
    assert made["prag_stage_seconds"].told == [(1.5, tags), (0.0, tags | {"stage": "install"})]


def test_counters_are_told_of_what_happened_alone(made: dict[str, Recorded]) -> None:
    """Ray refuses a counter that is increased by nothing."""
    generator = metrics.GeneratorMetrics()
    generator.fetched(2, 0, 100)
    generator.prepared({}, "flare", degraded=0, retrievals=3)
    generator.prepared({}, "closed_book", degraded=1, retrievals=0)
    assert made["prag_adapter_cache_hits"].told == [(2, {})] and not made["prag_adapter_cache_misses"].told
    assert made["prag_adapter_cache_bytes"].told == [(100, {})]
    assert made["prag_retrievals"].told == [(3, {"method": "flare"})] and made[
        "prag_degraded_documents"
    ].told == [(1, {})]
