"""`prag serve` as a user runs it: up, answering, told to stop in the middle of an answer, gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import psutil

from cluster.replica.installer import PREFIX
from tests.cluster.endpoint import free_port

ROOT = Path(__file__).resolve().parents[2]


def test_it_serves_on_loopback_until_it_is_told_to_stop_and_finishes_what_it_has(settings: list[str]) -> None:
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "jobs.cli",
        "serve",
        *settings,
        f"serve.port={port}",
        "engine.max_sequences=4",
    ]
    before = set(Path("/dev/shm").glob(f"{PREFIX}*"))
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert f"http://127.0.0.1:{port}/v1" in process.stdout.readline()
        family = psutil.Process(process.pid).children(recursive=True)
        assert not open_to_all([psutil.Process(process.pid), *family])
        folders = set(Path("/dev/shm").glob(f"{PREFIX}*")) - before
        assert len(folders) == 1
        assert text_of_a_stream_during_which(process, port).endswith("data: [DONE]\n\n")
        assert process.wait(60) == 0
        psutil.wait_procs(family, timeout=20)
        assert not [
            child for child in family if child.is_running() and child.status() != psutil.STATUS_ZOMBIE
        ]
        assert not any(folder.exists() for folder in folders)
    finally:
        process.kill()
        process.wait()


def text_of_a_stream_during_which(process: subprocess.Popen[str], port: int) -> str:
    """A long answer; the server is told to stop when its first piece is here."""
    body = {"model": "prag", "stream": True, "max_tokens": 400, "temperature": 2.0, "seed": 1}
    body["messages"] = [{"role": "user", "content": "In which country is Jelamnax?"}]
    text, told = "", False
    with httpx.stream("POST", f"http://127.0.0.1:{port}/v1/chat/completions", json=body, timeout=60) as reply:
        for piece in reply.iter_text():
            text += piece
            if not told and '"content"' in piece:
                os.kill(process.pid, signal.SIGTERM)
                told = True
    return text


def open_to_all(processes: list[psutil.Process]) -> list[tuple[str, str]]:
    """What these processes listen on beyond loopback."""
    return [
        (process.name(), str(connection.laddr))
        for process in processes
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
        and connection.laddr.ip not in ("127.0.0.1", "::1", "::ffff:127.0.0.1")
    ]
