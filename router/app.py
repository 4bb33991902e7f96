"""The HTTP application: its parts put together, and the endpoints beside chat."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from config.settings import Settings
from policies.scores import Scores
from router.answering import Answering
from router.api.feedback import add_feedback
from router.api.responses import add_responses
from router.api.stored import add_stored
from router.api.tasks import add_tasks
from router.audit import Auditor
from router.dialects.chat import ChatDialect
from router.dialects.responses.dialect import ResponsesDialect
from router.endpoint import Endpoint, Engine
from router.errors import (
    MethodNotAllowedError,
    ModelNotFoundError,
    NotReadyError,
    ProtegeError,
    UnexpectedError,
    UnknownPathError,
    render,
)
from router.ledger import Ledger
from router.load import Load
from router.models import Models
from router.routing import Routing
from router.serving import Students
from router.turn import Arrival
from telemetry import metrics
from telemetry.store import Store
from telemetry.writer import Writer

_log = logging.getLogger(__name__)


def create(settings: Settings) -> ASGIApp:
    """The application of one server process."""
    store = Store(settings.data, settings.database)
    writer = Writer(store)
    meters = metrics.Metrics()
    models = Models(settings)
    scores = Scores()
    students = Students(store, settings.data, meters)
    ledger = Ledger(writer, meters, scores, models.teacher)
    auditor = Auditor(models.chain, settings.policy, store, students, ledger)
    engine = Engine(
        models,
        Routing(models, settings.policy, students, scores),
        Answering(scores, ledger, auditor, settings.teacher_logprobs),
        Load(settings.limits.in_flight, meters.in_flight),
        meters,
        largest_body=round(settings.limits.body_mb * 1e6),
    )
    generating = {
        "/v1/chat/completions": Endpoint(ChatDialect(), engine),
        "/v1/responses": Endpoint(ResponsesDialect(store), engine),
    }

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncGenerator[None, None]:
        await models.start()
        await students.start()
        yield
        await auditor.finish()
        await students.stop()
        await models.close()
        await writer.close()
        store.close()

    app = FastAPI(lifespan=lifespan, openapi_url=None)
    for path, endpoint in generating.items():
        app.router.routes.append(Route(path, endpoint, methods=["POST"]))
    _add_models(app, models)
    add_stored(app, store)
    add_responses(app, store)
    add_feedback(app, store, meters)
    add_tasks(app, store)
    _add_probes(app, store, meters)
    _add_errors(app)

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        # The endpoints that nearly all requests are for need none of FastAPI's layers.
        posted = scope["type"] == "http" and scope["method"] == "POST"
        endpoint = generating.get(scope["path"]) if posted else None
        await (endpoint or app)(scope, receive, send)

    return serve


def _add_models(app: FastAPI, models: Models) -> None:
    created = int(time.time())

    def describe(name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": created, "owned_by": "protege"}

    @app.get("/v1/models")
    async def list_models() -> Response:
        return _json({"object": "list", "data": [describe(name) for name in models.names()]})

    @app.get("/v1/models/{name:path}")
    async def get_model(name: str) -> Response:
        if name not in models.names():
            raise ModelNotFoundError(f"The model '{name}' does not exist.", "model")
        return _json(describe(name))


def _add_probes(app: FastAPI, store: Store, meters: metrics.Metrics) -> None:
    @app.get("/healthz")
    async def healthz() -> Response:
        return _json({"status": "ok"})

    @app.get("/readyz")
    async def readyz() -> Response:
        try:
            await asyncio.to_thread(store.serving)
        except Exception as error:
            raise NotReadyError(f"The store cannot be read: {error}") from error
        return _json({"status": "ready"})

    @app.get("/metrics")
    async def scrape() -> Response:
        return Response(meters.render(), media_type=metrics.CONTENT_TYPE, headers=_identified())


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        if error.status_code == HTTPStatus.NOT_FOUND:
            return _error(UnknownPathError(f"Unknown path: {request.method} {request.url.path}"))
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            wrong = f"{request.url.path} does not answer to {request.method}."
            return _error(MethodNotAllowedError(wrong), error.headers)
        return _error(UnexpectedError(str(error.detail)))

    @app.exception_handler(ProtegeError)
    async def our_error(_request: Request, error: ProtegeError) -> Response:
        return _error(error)

    @app.exception_handler(Exception)
    async def unexpected(_request: Request, _error_: Exception) -> Response:
        return _error(UnexpectedError("The router failed."))


def _json(content: dict[str, Any]) -> Response:
    return Response(orjson.dumps(content), media_type="application/json", headers=_identified())


def _error(error: ProtegeError, headers: Any = None) -> Response:
    rendered = render(error)
    return Response(
        rendered.content,
        rendered.status,
        media_type="application/json",
        headers={**rendered.headers, **(headers or {}), **_identified()},
    )


def _identified() -> dict[str, str]:
    return {"x-request-id": Arrival(None).id}
