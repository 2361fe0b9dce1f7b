"""A replica's inner port: on loopback where Ray is, untouched elsewhere."""

from __future__ import annotations

import importlib
import inspect
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


def test_the_patch_is_still_needed() -> None:
    """Serve itself opens the port on all interfaces. When it does not any more, cluster/loopback.py can go."""
    replica = importlib.import_module("ray.serve._private.replica")
    assert f'add_port_to_grpc_server(self._server, "{ALL}")' in inspect.getsource(replica)
