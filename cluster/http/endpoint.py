"""The HTTP face: OpenAI routes over the service, one JSON error object for whatever goes wrong, a request id on every reply.

A stream's status is decided by its first event, so that a refusal is an HTTP status wherever possible; one that comes later
is an `error` event in place of the rest, and no `[DONE]` follows it.
"""

from __future__ import annotations

import asyncio
import logging
import re
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from ray.serve.handle import DeploymentHandle
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from cluster.bounds import Bounds
from cluster.http.openai_protocol import ChatRequest, CompletionRequest, error_object, parse
from cluster.http.page import add_page
from cluster.http.responses import Kind, Reply, all_timings, as_event
from cluster.http.validation import check
from cluster.keys.gate import Gate
from cluster.loopback import keep_to_loopback
from cluster.metrics import IngressMetrics
from cluster.records import Begun, Delta, Done, Refused
from cluster.service import Answering, Service
from prag_core.answering.registry import SERVED, OneRound, merges_adapters, retrieves

logger = logging.getLogger("ray.serve")
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
CLIENT_LEFT = 499  # in logs and metrics; nobody is there to read it
KINDS: dict[Kind, type[ChatRequest] | type[CompletionRequest]] = {
    "chat": ChatRequest,
    "text": CompletionRequest,
}


class Ingress:
    """A deployment."""

    def __init__(
        self, retriever: DeploymentHandle, generator: DeploymentHandle, bounds: Bounds, keys_file: str | None
    ) -> None:
        keep_to_loopback()
        self.metrics = IngressMetrics()
        self.service = Service(retriever, generator, bounds)
        self.gate = Gate(keys_file)

    def __serve_build_asgi_app__(self) -> FastAPI:
        return make_app(self.service, self.gate, self.metrics)


def make_app(service: Service, gate: Gate, metrics: IngressMetrics) -> FastAPI:
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    add_page(app)

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        return await complete("chat", request)

    @app.post("/v1/completions")
    async def completions(request: Request) -> Response:
        return await complete("text", request)

    @app.get("/v1/models")
    async def models(request: Request) -> Response:
        entrant = gate.enter(request.headers.get("authorization"))
        if isinstance(entrant, Refused):
            return refusal(entrant)
        return JSONResponse(
            {"object": "list", "data": [model_object(name) for name in service.bounds.methods]}
        )

    @app.get("/v1/models/{name}")
    async def model(name: str, request: Request) -> Response:
        entrant = gate.enter(request.headers.get("authorization"))
        if isinstance(entrant, Refused):
            return refusal(entrant)
        names = service.bounds.methods
        known = ", ".join(names)
        unknown = Refused(404, f"no model {name[:80]!r}; there are {known}", "model", "model_not_found")
        return JSONResponse(model_object(name)) if name in names else refusal(unknown)

    @app.get("/health")
    async def health() -> Response:
        return JSONResponse({"status": "alive"})

    @app.get("/ready")
    async def ready() -> Response:
        try:
            await service.check_ready()
        except Exception as error:  # whatever it is, it is not ready
            logger.warning("not ready", extra={"reason": repr(error)})
            return refusal(Refused(503, "no engine answers yet", None, "not_ready", 2))
        return JSONResponse({"status": "ready"})

    @app.exception_handler(HTTPException)
    async def no_such_thing(request: Request, error: HTTPException) -> Response:
        return refusal(
            Refused(error.status_code, f"{request.method} {request.url.path[:80]}: {error.detail}")
        )

    async def complete(kind: Kind, request: Request) -> Response:
        request_id = id_of(request)
        metrics.began()
        try:
            prepared = await prepare(kind, request, request_id)
            if isinstance(prepared, Refused):
                return turned_away(prepared, request_id)
            answering, wants = prepared
            return await respond(kind, answering, stream=wants.stream, usage=with_usage(wants))
        except asyncio.CancelledError:
            report(request_id, CLIENT_LEFT, "client_left")
            raise
        except Exception:
            logger.exception("a defect of ours", extra={"prag_request": request_id})
            return turned_away(
                Refused(500, "this request failed on our side", None, "internal_error"), request_id
            )

    async def prepare(
        kind: Kind, request: Request, request_id: str
    ) -> tuple[Answering, ChatRequest | CompletionRequest] | Refused:
        entrant = gate.enter(request.headers.get("authorization"))
        if isinstance(entrant, Refused):
            return entrant
        body = await read_body(request, service.bounds.max_body_bytes)
        parsed = body if isinstance(body, Refused) else parse(KINDS[kind], body)
        if isinstance(parsed, Refused):
            return parsed
        order = check(parsed, entrant.caller, service.bounds)
        if isinstance(order, Refused):
            return order
        admission = gate.admit(entrant, order)
        return (
            admission if isinstance(admission, Refused) else (Answering(request_id, order, admission), parsed)
        )

    async def respond(kind: Kind, answering: Answering, *, stream: bool, usage: bool) -> Response:
        reply = Reply(kind, answering)
        events = service.events(answering)
        first = await anext(events)
        if isinstance(first, Refused):
            await events.aclose()
            return turned_away(first, answering.request_id)
        if stream:
            body = streamed(reply, first, events, usage=usage)
            await anext(body)  # begun, so that it comes to its end however it is left
            return Stream(body, media_type="text/event-stream", headers={"cache-control": "no-cache"})
        pieces: list[str] = []
        async with aclosing(events):
            took(answering, first, pieces)
            async for event in events:
                if isinstance(event, Refused):
                    return turned_away(event, answering.request_id)
                took(answering, event, pieces)
        finished(answering)
        return JSONResponse(reply.whole("".join(pieces)))

    async def streamed(reply: Reply, first: Any, events: Any, *, usage: bool) -> AsyncGenerator[bytes, None]:
        answering = reply.answering
        ended = False
        try:
            async with aclosing(events):
                yield b""
                took(answering, first, [])
                yield as_event(reply.chunk("", first=True))
                async for event in events:
                    if isinstance(event, Refused):
                        answering.refused = event
                        yield as_event(error_object(event))
                        return
                    took(answering, event, [])
                    if isinstance(event, Delta):
                        yield as_event(reply.chunk(event.text))
            ended = True
            answering.mark("total")
            for chunk in reply.last_chunks(with_usage=usage):
                yield as_event(chunk)
            yield as_event("[DONE]")
        finally:
            if ended:
                finished(answering)
            else:
                report(
                    answering.request_id,
                    answering.refused.status if answering.refused else CLIENT_LEFT,
                    "broken_off",
                )

    def turned_away(refused: Refused, request_id: str) -> Response:
        report(request_id, refused.status, refused.code or "invalid", why=refused.message)
        return refusal(refused)

    def finished(answering: Answering) -> None:
        answering.mark("total")
        begun = answering.begun
        metrics.answered({k: v for k, v in answering.timings_ms.items() if v}, answering.order.method)
        report(
            answering.request_id,
            200,
            None,
            method=answering.order.method,
            snapshot=answering.snapshot,
            documents=len(begun.documents) if begun else 0,
            degraded=len(begun.degraded) if begun else 0,
            tokens=answering.done.completion_tokens if answering.done else 0,
            timings_ms={name: round(value, 2) for name, value in all_timings(answering).items()},
        )

    def report(request_id: str, status: int, reason: str | None, **facts: Any) -> None:
        metrics.ended(status, reason)
        logger.info(
            "request", extra={"prag_request": request_id, "status": status, "reason": reason, **facts}
        )

    return app


class Stream(StreamingResponse):
    """Ends its body when the sending ends, also where the client has left before the first byte of it."""

    def __init__(self, body: AsyncGenerator[bytes, None], **more: Any) -> None:
        super().__init__(body, **more)
        self._body = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._body):
            await super().__call__(scope, receive, send)


def took(answering: Answering, event: Begun | Delta | Done, pieces: list[str]) -> None:
    """Note an event in what is known of its request."""
    if isinstance(event, Begun):
        answering.begun = event
    elif isinstance(event, Delta):
        answering.mark("first_token")
        pieces.append(event.text)
    else:
        answering.done = event


def with_usage(request: ChatRequest | CompletionRequest) -> bool:
    return request.stream_options is not None and request.stream_options.include_usage


async def read_body(request: Request, most: int) -> bytes | Refused:
    """The body, refused as soon as it is too long."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > most:
            return Refused(413, f"the body is longer than {most} bytes", None, "body_too_long")
    return bytes(body)


def id_of(request: Request) -> str:
    """The caller's own request id where it is a plain one, else a new one. Serve's proxy adds it to the reply."""
    given = request.headers.get("x-request-id", "")
    return given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def model_object(name: str) -> dict[str, Any]:
    """A method as a model; under `prag`, which options it has a use for, and whether it retrieves as it goes."""
    method = SERVED[name]
    uses = {"retrieves": retrieves(method), "adapters": merges_adapters(method)}
    uses["several_rounds"] = not isinstance(method, OneRound)
    return {"id": name, "object": "model", "created": 0, "owned_by": "prag", "prag": uses}


def refusal(refused: Refused) -> Response:
    headers = {} if refused.retry_after is None else {"retry-after": str(refused.retry_after)}
    headers |= {"www-authenticate": "Bearer"} if refused.status == 401 else {}
    return JSONResponse(error_object(refused), refused.status, headers=headers)
