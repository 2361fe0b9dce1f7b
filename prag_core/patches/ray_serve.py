"""Ray Serve 2.60: every replica opens a gRPC port for other replicas on all interfaces, whatever Ray's own address is.

There is no setting (`ray/serve/_private/replica.py` opens `[::]:0`); https://github.com/ray-project/ray/issues/64544 asks for one
for the port. This package does not import Ray: who does hands over the module.
"""

from __future__ import annotations

from typing import Any


def open_replica_ports_on_loopback(replica: Any) -> None:
    """Make the module `ray.serve._private.replica` open its ports on 127.0.0.1. Once is enough; again changes nothing."""
    open_port = replica.add_port_to_grpc_server
    if open_port.__name__ == "open_on_loopback":
        return

    def open_on_loopback(server: Any, address: str) -> Any:
        return open_port(server, address.replace("[::]", "127.0.0.1"))

    replica.add_port_to_grpc_server = open_on_loopback
