"""What callers get where an endpoint fails, or there is none."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from router.dialects.messages.errors import is_anthropics, rendered
from router.errors import (
    MethodNotAllowedError,
    ProtegeError,
    StoreUnavailableError,
    UnexpectedError,
    UnknownPathError,
    render,
)
from router.http.paths import meant
from router.turn import Arrival

_log = logging.getLogger(__name__)


def refusal(request: Request, error: ProtegeError, headers: Any = None) -> Response:
    """The ``error`` in the shape that the caller's client reads."""
    shown = rendered(error) if is_anthropics(request.scope) else render(error)
    return Response(
        shown.content,
        shown.status,
        media_type="application/json",
        headers={**shown.headers, **(headers or {}), "x-request-id": Arrival(None).id},
    )


def add_failures(app: FastAPI) -> None:
    """Have ``app`` answer in that shape whatever happens."""

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        if error.status_code == HTTPStatus.NOT_FOUND:
            likely = meant(request.url.path, app.router.routes)
            better = f". Did you mean {likely}?" if likely else ""
            wrong = f"Unknown path: {request.method} {request.url.path}{better}"
            return refusal(request, UnknownPathError(wrong))
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            wrong = f"{request.url.path} does not answer to {request.method}."
            return refusal(request, MethodNotAllowedError(wrong), error.headers)
        return refusal(request, UnexpectedError(str(error.detail)))

    @app.exception_handler(ProtegeError)
    async def our_error(request: Request, error: ProtegeError) -> Response:
        return refusal(request, error)

    @app.exception_handler(SQLAlchemyError)
    async def store_failed(request: Request, error: SQLAlchemyError) -> Response:
        _log.error("the store failed at %s: %s", request.scope["route"].path, error)
        return refusal(request, StoreUnavailableError("The store cannot be reached."))

    @app.exception_handler(Exception)
    async def unexpected(request: Request, _error: Exception) -> Response:
        return refusal(request, UnexpectedError("The router failed."))
