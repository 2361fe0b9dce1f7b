"""Patch of Ray Serve: keep the inner ports of a one-machine endpoint inside the machine.

Every Serve replica opens a gRPC port for other replicas, on all interfaces whatever Ray's own address is (Ray 2.60; there is no
setting). On a cluster other nodes must reach it. Where all of Ray is on loopback, it belongs there, too. The patch can go when
Serve binds that port to the node's address; a test reads Serve's source and fails then.
"""

from __future__ import annotations

import importlib
from typing import Any

import ray.util


def keep_to_loopback() -> None:
    """Make Serve open this replica's port on loopback, where Ray is on loopback. Called before Serve opens it."""
    if not ray.util.get_node_ip_address().startswith("127."):  # type: ignore[no-untyped-call]
        return
    replica: Any = importlib.import_module("ray.serve._private.replica")
    bind = replica.add_port_to_grpc_server

    def bind_loopback(server: Any, address: str) -> Any:
        return bind(server, address.replace("[::]", "127.0.0.1"))

    replica.add_port_to_grpc_server = bind_loopback
