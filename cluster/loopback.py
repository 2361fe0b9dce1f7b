"""Keep the inner ports of a one-machine endpoint inside the machine.

Ray's token guards the ports between replicas, and on a cluster other nodes must reach them. Where all of Ray is on loopback, they
should be, too (see prag_core/patches/ray_serve.py).
"""

from __future__ import annotations

import importlib

import ray.util

from prag_core.patches.ray_serve import open_replica_ports_on_loopback


def keep_to_loopback() -> None:
    """Have a replica open its port on loopback if Ray itself is there. To be called as the replica is made."""
    if ray.util.get_node_ip_address().startswith("127."):  # type: ignore[no-untyped-call]
        open_replica_ports_on_loopback(importlib.import_module("ray.serve._private.replica"))
