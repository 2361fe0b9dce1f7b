"""A TCP proxy before a real server, for tests: it passes everything on, refuses, or takes connections and never answers."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Literal, Self
from urllib.parse import urlsplit


class Proxy:
    """Stands before the server of an endpoint's URL; `url` is its own. `mode` may change at any time."""

    def __init__(self, endpoint: str) -> None:
        parts = urlsplit(endpoint)
        self.server = (str(parts.hostname), int(parts.port or 80))
        self.mode: Literal["pass", "refuse", "hang"] = "pass"
        self.connections: list[socket.socket] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.listener.close()
        self.drop()

    def go_away(self, mode: Literal["refuse", "hang"], seconds: float) -> None:
        """Break every connection, and be away for so long."""
        self.mode = mode
        self.drop()
        threading.Timer(seconds, self._come_back).start()

    def drop(self) -> None:
        """Break every connection."""
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self.connections.clear()

    def _come_back(self) -> None:
        self.mode = "pass"
        self.drop()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if self.mode == "refuse":
                client.close()
                continue
            self.connections.append(client)
            if self.mode == "pass":
                server = socket.create_connection(self.server)
                self.connections.append(server)
                for source, target in ((client, server), (server, client)):
                    reply = {"reply": source is server}
                    threading.Thread(
                        target=self._pump, args=(source, target), kwargs=reply, daemon=True
                    ).start()

    def _pump(self, source: socket.socket, target: socket.socket, *, reply: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                self.forward(data, source, target, reply=reply)
            target.shutdown(socket.SHUT_RDWR)

    def forward(self, data: bytes, source: socket.socket, target: socket.socket, *, reply: bool) -> None:
        """Pass on what came from a client or, as a `reply`, from the server."""
        target.sendall(data)
