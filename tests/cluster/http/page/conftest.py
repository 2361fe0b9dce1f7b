"""A real headless Chromium, and the page before a server whose replies the test decides.

The browser is the one that PRAG_CHROMIUM names, or the system's, or one from npm, installed once under ~/.cache/prag.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from playwright.sync_api import Browser, Page, sync_playwright

from cluster.http.page import add_page

NAMES = ("chromium", "chromium-headless-shell", "chromium-browser", "google-chrome", "google-chrome-stable")
CACHE = Path.home() / ".cache" / "prag" / "chromium-153.0.0"
METHODS = {  # what each has a use for, as the endpoint says: documents, adapters, several rounds
    "closed_book": (False, False, False),
    "rag": (True, False, False),
    "prag": (True, True, False),
    "combine": (True, True, False),
    "flare+prag": (True, True, True),
}
NO_BROWSER = "no browser: apt-get install chromium, or npm and a registry to install one from"


@pytest.fixture(scope="module")  # while it lives its event loop runs in this thread, and no other can
def browser() -> Iterator[Browser]:
    path, environment = _find_browser()
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=path,
            args=["--no-sandbox", "--disable-gpu", "--font-render-hinting=none"],
            env={**os.environ, **environment},
        )
        yield running
        running.close()


def _find_browser() -> tuple[str, dict[str, str]]:
    given = os.environ.get("PRAG_CHROMIUM") or next(
        (path for name in NAMES if (path := shutil.which(name))), None
    )
    if given:
        return given, {}
    CACHE.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{CACHE}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (CACHE / "chromium").exists():
            script = Path(__file__).with_name("install_chromium.sh")
            done = subprocess.run(
                [script, CACHE, sys.executable], capture_output=True, text=True, timeout=600
            )
            if done.returncode:
                pytest.skip(f"{NO_BROWSER} ({done.stderr[-300:]})")
    environment = {"FONTCONFIG_FILE": str(CACHE / "fonts.conf")}
    if "not found" in subprocess.run(["ldd", CACHE / "chromium"], capture_output=True, text=True).stdout:
        environment["LD_LIBRARY_PATH"] = str(CACHE / "lib")
    return str(CACHE / "chromium"), environment


@dataclass
class Script:
    """What the server says. `replies` by method: a whole response, or the events of a stream (numbers are pauses, in seconds)."""

    key: str | None = None
    replies: dict[str, Any] = field(default_factory=dict)
    requests: list[dict[str, Any]] = field(default_factory=list)

    def refuse(self, request: Request) -> Response | None:
        if self.key is None or request.headers.get("authorization") == f"Bearer {self.key}":
            return None
        return error_reply(401, "a valid API key is needed")


@pytest.fixture(name="error_reply")
def _error_reply() -> Callable[..., Response]:
    return error_reply


def error_reply(status: int, message: str, **headers: str) -> Response:
    return JSONResponse(
        {"error": {"message": message, "type": "x", "param": None, "code": None}}, status, headers=headers
    )


def scripted_app(script: Script) -> FastAPI:
    app = FastAPI()
    add_page(app)

    @app.get("/v1/models")
    async def models(request: Request) -> Response:
        kinds = ("retrieves", "adapters", "several_rounds")
        listed = [
            {"id": name, "object": "model", "prag": dict(zip(kinds, uses, strict=True))}
            for name, uses in METHODS.items()
        ]
        return script.refuse(request) or JSONResponse({"object": "list", "data": listed})

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        body = await request.json()
        script.requests.append(body)
        refused = script.refuse(request)
        if refused:
            return refused
        reply = script.replies[body["prag"]["method"]]
        return (
            reply
            if isinstance(reply, Response)
            else StreamingResponse(stream(reply), media_type="text/event-stream")
        )

    return app


async def stream(events: list[Any]) -> AsyncIterator[bytes]:
    for event in events:
        if isinstance(event, int | float):
            await asyncio.sleep(event)
        else:
            yield f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n".encode()


@pytest.fixture(scope="session")
def _server() -> Iterator[tuple[str, Callable[[Script], None]]]:
    current = Script()

    class Switch:
        """The app of the script at hand."""

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await scripted_app(current)(scope, receive, send)

    def use(script: Script) -> None:
        nonlocal current
        current = script

    server = uvicorn.Server(
        uvicorn.Config(Switch(), host="127.0.0.1", port=0, log_level="error", lifespan="off")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}/", use
    server.should_exit = True
    thread.join()


@pytest.fixture
def script(_server: tuple[str, Callable[[Script], None]]) -> Script:
    script = Script()
    _server[1](script)
    return script


@pytest.fixture
def url(_server: tuple[str, Any]) -> str:
    return _server[0]


@pytest.fixture
def page(browser: Browser, script: Script, _server: tuple[str, Any]) -> Iterator[Page]:
    """The page, not yet opened: `page.goto("/")`. Errors of its scripts, and of its policy, fail the test."""
    context = browser.new_context(base_url=_server[0], reduced_motion="reduce")
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    yield page
    context.close()
    unexpected = [problem for problem in problems if "Failed to load resource" not in problem]
    assert not unexpected
