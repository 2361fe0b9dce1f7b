"""Keeping a one-machine endpoint's inner ports inside the machine.

Every Serve replica opens a gRPC port for other replicas, on all interfaces whatever Ray's own address is (Ray 2.60; there is no
setting). Ray's token guards it, and on a cluster other nodes must reach it. Where all of Ray is on loopback, it should be, too.
"""

from __future__ import annotations

import importlib
from typing import Any

import ray.util


def keep_to_loopback() -> None:
    """Called as a replica is made, before Serve opens the port: on a loopback Ray the port is opened there."""
    if not ray.util.get_node_ip_address().startswith("127."):  # type: ignore[no-untyped-call]
        return
    replica: Any = importlib.import_module("ray.serve._private.replica")
    bind = replica.add_port_to_grpc_server

    def bind_loopback(server: Any, address: str) -> Any:
        return bind(server, address.replace("[::]", "127.0.0.1"))

    replica.add_port_to_grpc_server = bind_loopback
