"""A proxy that does what networks do: it cuts connections, loses replies to requests that were carried out, delays, is silent."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from random import Random

from tests.prag_core.storage.proxy import Proxy

LONGEST_DELAY = 0.5  # seconds


class FaultyProxy(Proxy):
    """Stands before the server of an endpoint's URL, and draws a fault for a piece of traffic at the given rate. `faults` counts
    them."""

    def __init__(self, endpoint: str, chance: Random, rate: float) -> None:
        super().__init__(endpoint)
        self.chance, self.rate, self.lock = chance, rate, threading.Lock()
        self.faults: Counter[str] = Counter()

    def forward(self, data: bytes, source: socket.socket, target: socket.socket, *, reply: bool) -> None:
        fault, seconds = self._draw(reply)
        if fault == "delayed":
            time.sleep(seconds)
        if fault == "cut":
            target.sendall(data[: len(data) // 2])
        if fault in ("cut", "lost"):
            for connection in (source, target):
                connection.shutdown(socket.SHUT_RDWR)
            raise ConnectionResetError
        if fault != "silent":
            target.sendall(data)

    def _draw(self, reply: bool) -> tuple[str, float]:
        """A fault or "", and for how long. Only replies are swallowed without the connection's end."""
        with self.lock:
            if self.chance.random() >= self.rate:
                return "", 0.0
            fault = self.chance.choice(("cut", "lost", "delayed", *(("silent",) if reply else ())))
            self.faults["reply lost" if fault == "lost" and reply else fault] += 1
            return fault, self.chance.random() * LONGEST_DELAY
