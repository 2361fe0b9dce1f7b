"""A replica's inner port: on loopback where Ray is, untouched elsewhere."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import ray.util

from cluster.loopback import keep_to_loopback

ALL = "[::]:0"


@pytest.mark.parametrize(("node", "opened"), [("127.0.0.1", "127.0.0.1:0"), ("10.1.2.3", ALL)])
def test_the_port_opens_where_ray_itself_listens(
    monkeypatch: pytest.MonkeyPatch, node: str, opened: str
) -> None:
    replica: Any = importlib.import_module("ray.serve._private.replica")
    asked: list[str] = []
    monkeypatch.setattr(replica, "add_port_to_grpc_server", lambda _, address: asked.append(address))
    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: node)
    keep_to_loopback()
    replica.add_port_to_grpc_server(None, ALL)
    assert asked == [opened]
