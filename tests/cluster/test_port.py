"""A port is taken by one server alone, whoever the other is and however it opened the port."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.port import reserved_port
from prag_core.errors import ConfigError
from tests.cluster.endpoint import free_port

ROOT = Path(__file__).resolve().parents[2]


def shared_socket(port: int) -> socket.socket:
    """A socket as Ray Serve's proxy makes it: one that others may join."""
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    server.bind(("127.0.0.1", port))
    return server


def test_who_has_reserved_a_port_can_open_it_as_serve_does() -> None:
    port = free_port()
    with reserved_port("127.0.0.1", port), shared_socket(port) as server:
        server.listen()
        with socket.create_connection(("127.0.0.1", port)):
            server.accept()[0].close()


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_port_that_is_listened_on_is_refused_with_the_process_that_has_it(host: str) -> None:
    """Also a port that its listener would share."""
    with shared_socket(port := free_port()) as server:
        server.listen()
        used = rf"serve.port={port}: already used by process {os.getpid()} \("
        with pytest.raises(ConfigError, match=used), reserved_port(host, port):
            pass


def test_of_two_that_start_at_once_one_is_refused() -> None:
    port = free_port()
    first, second = reserved_port("127.0.0.1", port), reserved_port("127.0.0.1", port)
    with first, pytest.raises(ConfigError, match="another prag serve"), second:
        pass
    with reserved_port("127.0.0.1", port):
        pass


def test_a_port_is_free_as_soon_as_its_server_has_ended() -> None:
    """Connections that linger in TIME_WAIT do not keep a server from starting again."""
    with shared_socket(port := free_port()) as server:
        server.listen()
        with socket.create_connection(("127.0.0.1", port)):
            server.accept()[0].close()  # closed by the server first, so that its side lingers
    with reserved_port("127.0.0.1", port):
        pass


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1"])
def test_an_address_of_another_machine_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(host)), reserved_port(host, free_port()):
        pass


def test_a_second_prag_serve_on_the_same_port_ends_with_one_line(tmp_path: Path) -> None:
    """It ends before a bank is read or Ray is started, and names the process that has the port."""
    with shared_socket(port := free_port()) as server:
        server.listen()
        command = [sys.executable, "-m", "jobs.cli", "serve", f"bank.uri={tmp_path}", f"serve.port={port}"]
        second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert second.returncode == 2 and second.stdout == ""
    assert re.fullmatch(
        rf"error: serve.port={port}: already used by process {os.getpid()} \(.*\n", second.stderr
    )
