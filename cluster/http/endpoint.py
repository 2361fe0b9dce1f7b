"""HTTP endpoint: OpenAI's routes over the service, and the page.

A stream's status is decided by its first event, so that a refusal is an HTTP status wherever possible; one that comes later
is an `error` event in place of the rest, and no `[DONE]` follows it.

Bodies are read here and not by FastAPI, which would read them whole before the API key is checked and whatever their length.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from fastapi import FastAPI, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse, Response, StreamingResponse
from ray.serve.handle import DeploymentHandle
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from cluster.bounds import Bounds
from cluster.http.errors import add_error_handlers, error_object
from cluster.http.openai_protocol import ChatRequest, CompletionRequest, parse
from cluster.http.page import add_page
from cluster.http.request_log import CLIENT_LEFT, RequestLog
from cluster.http.responses import Kind, Reply, as_event, model_object
from cluster.http.validation import check, unknown_model
from cluster.keys.gate import Entrant, Gate
from cluster.loopback import keep_to_loopback
from cluster.metrics import IngressMetrics
from cluster.records import Begun, Delta, Done, Refusal, Refused
from cluster.service import DEFECT, Answering, Service

logger = logging.getLogger("ray.serve")
READ = ["GET", "HEAD"]
REQUESTS: dict[Kind, type[ChatRequest] | type[CompletionRequest]] = {
    "chat": ChatRequest,
    "text": CompletionRequest,
}
NOT_READY = Refusal(503, "no engine answers yet", code="not_ready", retry_after=2)

Events = AsyncGenerator[Begun | Delta | Done, None]


class Ingress:
    """The deployment that serves HTTP."""

    def __init__(
        self,
        retriever: DeploymentHandle,
        generator: DeploymentHandle,
        bounds: Bounds,
        keys_file: str | None,
        cors_origins: Sequence[str] = (),
    ) -> None:
        keep_to_loopback()
        service = Service(retriever, generator, bounds)
        self.endpoint = Endpoint(service, Gate(keys_file), IngressMetrics(), cors_origins)

    def __serve_build_asgi_app__(self) -> FastAPI:
        return self.endpoint.app()


class Endpoint:
    """The routes. `cors_origins` are those of web pages whose scripts may ask; "*" allows every page."""

    def __init__(
        self, service: Service, gate: Gate, metrics: IngressMetrics, cors_origins: Sequence[str] = ()
    ) -> None:
        self.service, self.gate, self.metrics = service, gate, metrics
        self.cors_origins = cors_origins

    def app(self) -> FastAPI:
        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        add_error_handlers(app)
        if self.cors_origins:
            app.add_middleware(
                CORSMiddleware,
                allow_origins=list(self.cors_origins),
                allow_methods=[*READ, "POST"],
                allow_headers=["*"],
                expose_headers=["x-request-id", "retry-after"],
            )
        app.post("/v1/chat/completions")(self.chat)
        app.post("/v1/completions")(self.completions)
        for path, route in (
            ("/v1/models", self.models),
            ("/v1/models/{name}", self.model),
            ("/health", self.health),
            ("/ready", self.ready),
        ):
            app.api_route(path, methods=READ)(route)
        add_page(app)
        return app

    async def chat(self, request: Request) -> Response:
        return await self._complete("chat", request)

    async def completions(self, request: Request) -> Response:
        return await self._complete("text", request)

    async def models(self, request: Request) -> Response:
        self._enter(request)
        data = [model_object(name) for name in self.service.bounds.methods]
        return JSONResponse({"object": "list", "data": data})

    async def model(self, name: str, request: Request) -> Response:
        self._enter(request)
        if name not in self.service.bounds.methods:
            raise Refused(unknown_model(name, self.service.bounds))
        return JSONResponse(model_object(name))

    async def health(self) -> Response:
        return JSONResponse({"status": "alive"})

    async def ready(self) -> Response:
        try:
            await self.service.check_ready()
        except Exception as error:  # whatever the reason, it is not ready
            logger.warning("not ready", extra={"reason": repr(error)})
            raise Refused(NOT_READY) from None
        return JSONResponse({"status": "ready"})

    async def _complete(self, kind: Kind, request: Request) -> Response:
        """Answer a request for a completion, and report how it ended; the stream of an answer reports for itself."""
        log = RequestLog(request, self.metrics)
        try:
            asked, answering = await self._accept(kind, request, log.request_id)
            reply, events = Reply(kind, answering), self.service.events(answering)
            if not asked.stream:
                return await self._whole(reply, events, log)
            body = self._stream(reply, events, log, with_usage=asked.with_usage)
            await anext(body)  # the first event has come: from here on `body` reports its own end
            return Stream(body, media_type="text/event-stream", headers={"cache-control": "no-cache"})
        except asyncio.CancelledError:
            log.client_left()
            raise
        except ClientDisconnect:
            log.client_left()
            return Response(status_code=CLIENT_LEFT)
        except Refused as error:
            log.refused(error.refusal)
            raise
        except Exception:
            log.failed()
            log.refused(DEFECT)
            raise Refused(DEFECT) from None

    async def _accept(
        self, kind: Kind, request: Request, request_id: str
    ) -> tuple[ChatRequest | CompletionRequest, Answering]:
        """Check the key, read and check the request, and count it against the key's limits. Raises Refused."""
        entrant, bounds = self._enter(request), self.service.bounds
        asked = parse(REQUESTS[kind], await read_body(request, bounds))
        order = check(asked, entrant.caller, bounds)
        return asked, Answering(request_id, order, self.gate.admit(entrant, order))

    async def _whole(self, reply: Reply, events: Events, log: RequestLog) -> Response:
        async with aclosing(events):
            async for event in events:
                reply.take(event)
        log.answered(reply.answering)
        return JSONResponse(reply.whole())

    async def _stream(
        self, reply: Reply, events: Events, log: RequestLog, *, with_usage: bool
    ) -> AsyncGenerator[bytes, None]:
        """Yield an empty piece when the first event has come, then the answer as server-sent events.

        Raises Refused, and reports nothing, only before the empty piece.
        """
        async with aclosing(events):
            reply.take(await anext(events))
            complete, refusal = False, None
            try:
                yield b""
                yield as_event(reply.chunk("", first=True))
                async for event in events:
                    reply.take(event)
                    if isinstance(event, Delta):
                        yield as_event(reply.chunk(event.text))
                complete = True
                reply.answering.mark("total")
                for chunk in reply.last_chunks(with_usage=with_usage):
                    yield as_event(chunk)
                yield as_event("[DONE]")
            except Refused as error:
                refusal = error.refusal
                yield as_event(error_object(refusal))
            except Exception:
                log.failed()
                refusal = DEFECT
                yield as_event(error_object(refusal))
            finally:
                if complete:
                    log.answered(reply.answering)
                else:
                    log.broken_off(refusal)

    def _enter(self, request: Request) -> Entrant:
        return self.gate.enter(request.headers.get("authorization"))


class Stream(StreamingResponse):
    """A response that ends its body when the sending ends, also where the client left before the first byte."""

    def __init__(self, body: AsyncGenerator[bytes, None], **options: Any) -> None:
        super().__init__(body, **options)
        self._body = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._body):
            await super().__call__(scope, receive, send)


async def read_body(request: Request, bounds: Bounds) -> bytes:
    """Read the body. Raises Refused as soon as it is too long, or takes longer than an answer may."""
    body, most, seconds = bytearray(), bounds.max_body_bytes, bounds.timeout_seconds
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                body += part
                if len(body) > most:
                    raise Refused(Refusal(413, f"the body is longer than {most} bytes", code="body_too_long"))
    except TimeoutError:
        message = f"the body did not arrive within {seconds:g} s"
        raise Refused(Refusal(408, message, code="request_timeout")) from None
    return bytes(body)
