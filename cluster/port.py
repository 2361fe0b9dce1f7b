"""The endpoint's port, taken by one server alone.

Ray Serve's proxies open their port with SO_REUSEPORT, so that several of them can share it. Two servers of one user on one
machine would share it as well: the kernel deals requests out between them, and a server without API keys would answer for one
that has them. So `prag serve` makes sure of the port before it starts anything.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from prag_core.errors import ConfigError


@contextmanager
def reserved_port(host: str, port: int) -> Iterator[None]:
    """Keep other servers of this machine from opening `port` until this process has opened it.

    Raises ConfigError naming the process that listens on it already, or what is wrong with the address.
    """
    with socket.socket(
        socket.AF_UNIX
    ) as start:  # of two that start at once, one gets the name; the kernel frees it
        if sys.platform == "linux":
            try:
                start.bind(f"\0prag-serve-{port}")
            except OSError:
                raise ConfigError(
                    f"serve.port={port}: another prag serve is opening this port; choose another"
                ) from None
        _check_free(host, port)
        yield


def _check_free(host: str, port: int) -> None:
    """Open the port and close it again. Raises ConfigError where that is not possible."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise ConfigError(f"serve.host={host}: not an address of this machine ({error.strerror})") from None
    with socket.socket(family, socket.SOCK_STREAM) as attempt:
        # Connections that have just ended do not matter, a listener does: without SO_REUSEPORT none is joined.
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind(address)
            attempt.listen(1)
        except PermissionError:
            raise ConfigError(f"serve.port={port}: not permitted; choose a port above 1023") from None
        except OSError as error:
            user = _listener_on(port)
            if user is None:
                reason = f"cannot be opened on {host} ({error.strerror})"
            else:
                reason = f"already used by {user}; stop it or choose another port"
            raise ConfigError(f"serve.port={port}: {reason}") from None


def _listener_on(port: int) -> str | None:
    """The process that listens on a port; None where there is none, or this user may not see it."""
    try:
        connections = psutil.net_connections("tcp")
    except psutil.AccessDenied:
        return None
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
            if connection.pid is None:
                return "another user's process"
            try:
                return f"process {connection.pid} ({psutil.Process(connection.pid).name()})"
            except psutil.NoSuchProcess:
                return f"process {connection.pid}"
    return None
