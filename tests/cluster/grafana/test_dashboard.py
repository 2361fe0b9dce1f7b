"""The Grafana dashboard asks for metrics that the endpoint exports, by labels that they have, and for all of them."""

from __future__ import annotations

import itertools
import json
import re
import time
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import ray

from cluster import metrics
from tests.cluster.endpoint import DAMAGED, Endpoint

ROOT = Path(__file__).resolve().parents[3]
DASHBOARD = json.loads((ROOT / "cluster/grafana/dashboard.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]
SUFFIXES = {"Counter": ("_total",), "Gauge": ("",), "Histogram": ("_bucket", "_sum", "_count")}
EVERYWHERE = {"le", "deployment", "replica", "application"}  # labels that Prometheus and Serve add


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[str]]:
    """The labels of every name that cluster/metrics.py makes Ray export."""
    made: dict[str, set[str]] = {}

    def recorder(kind: str) -> Any:
        def make(name: str, description: str, tag_keys: tuple[str, ...] = (), **_: Any) -> None:
            assert description
            made.update({f"ray_{name}{suffix}": set(tag_keys) | EVERYWHERE for suffix in SUFFIXES[kind]})

        return make

    for kind in SUFFIXES:
        monkeypatch.setattr(f"cluster.metrics.metrics.{kind}", recorder(kind))
    metrics.GeneratorMetrics()
    metrics.IngressMetrics()
    return made


def names_in(query: str) -> set[str]:
    return set(re.findall(r"\bray_\w+", query))


def test_every_metric_it_queries_exists_with_the_labels_it_asks_for(exported: dict[str, set[str]]) -> None:
    for query in [*QUERIES, DASHBOARD["templating"]["list"][1]["definition"]]:
        ours = {name for name in names_in(query) if name.startswith("ray_prag_")}
        assert ours <= exported.keys(), query
        labels = set(re.findall(r"(\w+)=~?\"", query)) | {
            label for group in re.findall(r"by \(([^)]*)\)", query) for label in group.split(", ")
        }
        for name in ours:
            assert labels <= exported[name], query


def test_every_metric_is_on_it(exported: dict[str, set[str]]) -> None:
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for query in QUERIES for name in names_in(query)}
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in exported} <= shown


def test_the_real_endpoint_exports_everything_it_queries(endpoint: Endpoint, questions: list[str]) -> None:
    """Under a little load: Ray forgets a gauge that is not set again."""
    node = ray.nodes()[0]  # type: ignore[no-untyped-call]
    address = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    missing = {name for query in QUERIES for name in names_in(query)}
    deadline = time.monotonic() + 90
    asked = itertools.cycle(questions)
    while missing and time.monotonic() < deadline:
        for options in ({"doc_ids": [DAMAGED]}, {"top_k": 3}, {"top_k": 2}):
            ask(endpoint, next(asked), options)
        with pytest.raises(openai.BadRequestError):
            ask(endpoint, "Who?", {"top_k": 99})
        missing -= set(re.findall(r"^(ray_\w+)[ {]", httpx.get(address, timeout=10).text, re.MULTILINE))
    assert not missing


def ask(endpoint: Endpoint, question: str, options: dict[str, Any]) -> None:
    messages: Any = [{"role": "user", "content": question}]
    endpoint.client.chat.completions.create(model="prag", messages=messages, extra_body={"prag": options})


def test_panels_are_whole_and_lie_beside_each_other() -> None:
    places = [
        (p["gridPos"]["x"], p["gridPos"]["y"], p["gridPos"]["w"], p["gridPos"]["h"])
        for p in DASHBOARD["panels"]
    ]
    cells = [(x + i, y + j) for x, y, w, h in places for i in range(w) for j in range(h)]
    assert len(cells) == len(set(cells)) and {x for x, _ in cells} == set(range(24))
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    for panel in PANELS:
        assert panel["title"] and panel["targets"] and panel["datasource"]["uid"] == "${datasource}"
        assert panel["type"] == "heatmap" or panel["fieldConfig"]["defaults"]["unit"]
        for target in panel["targets"]:
            assert target["legendFormat"] and target["expr"].count("(") == target["expr"].count(")")
