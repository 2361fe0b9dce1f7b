"""Scripts of other web pages may ask where the server allows their origin, and nowhere by default."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from cluster.app import allowed_origins
from prag_core.errors import ConfigError
from tests.cluster.stand_ins import Handle, elbonia, transport

PAGE = "https://app.example"
PREFLIGHT = {
    "origin": PAGE,
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type",
}
BODY = {"model": "rag", "messages": [{"role": "user", "content": "Where is Jelamnax?"}]}


def replies(*cors_origins: str, page: str = PAGE) -> tuple[httpx.Response, httpx.Response]:
    """To a preflight, and to the request that a browser sends after it."""

    async def scenario() -> tuple[httpx.Response, httpx.Response]:
        app = transport(Handle(elbonia), cors_origins=cors_origins)
        async with httpx.AsyncClient(transport=app, base_url="http://test") as http:
            path, origin = "/v1/chat/completions", {"origin": page}
            preflight = await http.options(path, headers=PREFLIGHT | origin)
            return preflight, await http.post(path, json=BODY, headers=origin)

    return asyncio.run(scenario())


def test_no_page_may_ask_by_default() -> None:
    preflight, reply = replies()
    assert preflight.status_code == 405
    assert not [name for name in (*preflight.headers, *reply.headers) if name.startswith("access-control")]


@pytest.mark.parametrize("origins", [[PAGE], ["https://other.example", PAGE], ["*"]])
def test_an_allowed_page_may_send_its_key_and_read_the_reply(origins: list[str]) -> None:
    preflight, reply = replies(*origins)
    assert preflight.status_code == 200 and reply.status_code == 200
    assert preflight.headers["access-control-allow-origin"] in (PAGE, "*")
    assert "POST" in preflight.headers["access-control-allow-methods"]
    assert "authorization" in preflight.headers["access-control-allow-headers"]
    assert reply.headers["access-control-allow-origin"] in (PAGE, "*")
    assert "retry-after" in reply.headers["access-control-expose-headers"]


def test_another_page_may_not() -> None:
    preflight, reply = replies(PAGE, page="https://evil.example")
    assert preflight.status_code == 400 and "access-control-allow-origin" not in preflight.headers
    assert "access-control-allow-origin" not in reply.headers


def test_what_is_not_an_origin_is_refused_at_the_start() -> None:
    assert allowed_origins(["http://localhost:3000", PAGE, PAGE]) == ("http://localhost:3000", PAGE)
    for name in ("app.example", "https://app.example/", "https://app.example/page", "", "null"):
        with pytest.raises(ConfigError, match=r"serve\.cors_origins: .* is not an origin"):
            allowed_origins([name])
