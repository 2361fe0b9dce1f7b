"""The fault is still there; that the patch mends it is tested with a real port in tests/cluster."""

from __future__ import annotations

import importlib
import inspect
from types import SimpleNamespace

from prag_core.patches.ray_serve import open_replica_ports_on_loopback


def test_the_fault_is_still_in_the_installed_version() -> None:
    assert 'add_port_to_grpc_server(self._server, "[::]:0")' in inspect.getsource(
        importlib.import_module("ray.serve._private.replica")
    )


def test_patching_twice_is_patching_once() -> None:
    addresses: list[str] = []
    replica = SimpleNamespace(add_port_to_grpc_server=lambda _, address: addresses.append(address))
    open_replica_ports_on_loopback(replica)
    patched = replica.add_port_to_grpc_server
    open_replica_ports_on_loopback(replica)
    assert replica.add_port_to_grpc_server is patched
    patched(None, "[::]:0")
    assert addresses == ["127.0.0.1:0"]
