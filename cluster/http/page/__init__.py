"""The page at `/`: ask a question, compare methods. Plain files that use the endpoint's own API.

The page loads nothing but itself: the policy below forbids scripts, styles and connections from anywhere else, and
inline ones, so that text from a document or a model can never run.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import Response

FOLDER = Path(__file__).parent
FILES = {  # path → file and type
    "/": ("index.html", "text/html"),
    "/app.js": ("app.js", "text/javascript"),
    "/api.js": ("api.js", "text/javascript"),
    "/methods.js": ("methods.js", "text/javascript"),
    "/results.js": ("results.js", "text/javascript"),
    "/rounds.js": ("rounds.js", "text/javascript"),
    "/style.css": ("style.css", "text/css"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


def add_page(app: FastAPI) -> None:
    """Serve the page's files from memory, to GET and HEAD. They need no API key: they say nothing about any document."""
    for path, (name, kind) in FILES.items():
        app.api_route(path, methods=["GET", "HEAD"], include_in_schema=False)(
            _sender((FOLDER / name).read_bytes(), kind)
        )


def _sender(content: bytes, kind: str) -> Callable[[], Awaitable[Response]]:
    async def send() -> Response:
        return Response(content, media_type=kind, headers=HEADERS)

    return send
