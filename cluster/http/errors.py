"""Replies that are not answers: for every error one OpenAI error object, with the status and the headers that belong to it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from cluster.records import Refusal, Refused
from cluster.service import DEFECT

TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


def add_error_handlers(app: FastAPI) -> None:
    """Make `app` answer refusals, unknown paths, wrong methods and defects with error objects."""

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> Response:
        return error_reply(error.refusal)

    @app.exception_handler(HTTPException)
    async def not_routed(request: Request, error: HTTPException) -> Response:
        reason = HTTPStatus(error.status_code).phrase.lower()
        message = f"{request.method} {request.url.path[:80]}: {reason}"
        headers = dict(error.headers or {})
        if allowed := headers.get("Allow"):
            message += f"; this path answers {allowed}"
        return error_reply(Refusal(error.status_code, message, code=reason.replace(" ", "_")), headers)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        return error_reply(DEFECT)  # Starlette raises the error again afterwards, so that it is logged


def error_reply(refusal: Refusal, headers: dict[str, str] | None = None) -> Response:
    headers = dict(headers or {})
    if refusal.retry_after is not None:
        headers["retry-after"] = str(refusal.retry_after)
    if refusal.status == 401:
        headers["www-authenticate"] = "Bearer"
    return JSONResponse(error_object(refusal), refusal.status, headers=headers)


def error_object(refusal: Refusal) -> dict[str, Any]:
    """The body of every reply that is not an answer."""
    kind = TYPES.get(refusal.status, "invalid_request_error" if refusal.status < 500 else "server_error")
    return {"error": {"message": refusal.message, "type": kind, "param": refusal.param, "code": refusal.code}}
