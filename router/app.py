"""The HTTP application: its parts put together, and the endpoints beside chat."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from config.settings import Settings, TraceSettings
from policies.scores import Scores
from router.answering import Answering
from router.api.counts import add_token_counts
from router.api.embeddings import Embeddings
from router.api.feedback import add_feedback
from router.api.files import add_files
from router.api.jobs import add_jobs
from router.api.keys import add_keys
from router.api.models import add_models
from router.api.openapi import add_openapi
from router.api.probes import add_probes
from router.api.responses import add_responses
from router.api.stored import add_stored
from router.api.tasks import add_tasks
from router.audit import Auditor
from router.budgets import Budgets
from router.console.application import Console, Parts, is_consoles
from router.conversations import Conversations
from router.dialects.chat import ChatDialect
from router.dialects.completions import CompletionsDialect
from router.dialects.messages.dialect import MessagesDialect
from router.dialects.messages.errors import is_anthropics, rendered
from router.dialects.responses.dialect import ResponsesDialect
from router.endpoint import Endpoint, Engine
from router.errors import (
    SHAPES,
    ForbiddenError,
    InvalidKeyError,
    MethodNotAllowedError,
    ProtegeError,
    StoreUnavailableError,
    UnexpectedError,
    UnknownPathError,
    render,
)
from router.keys.counters import Counters
from router.keys.failover import Failover
from router.keys.file import FileCounters
from router.keys.keyring import Keyring, is_loopback
from router.keys.limits import Limits
from router.ledger import CODES, Ledger, code_of
from router.load import Load
from router.models import Models
from router.origins import check_local, is_pages, is_preflight, preflight, shown_to_pages
from router.paths import meant, usual
from router.paying import Paying
from router.polling import Background, keep_fresh
from router.precedence import Precedence
from router.rollout import Rollouts
from router.routing import Routing
from router.serving import Students
from router.standing import Standings
from router.tryouts import Tryouts
from router.turn import Arrival
from router.watch import Watch
from telemetry.exchange import PICO
from telemetry.keys import Keys
from telemetry.logs import requests
from telemetry.metrics import Metrics
from telemetry.rollup import roll_up
from telemetry.store import Store
from telemetry.tolls import newest
from telemetry.writer import Writer

if TYPE_CHECKING:
    from telemetry.traces import Traces

OPEN_TO_ALL = frozenset({"/healthz", "/readyz", "/metrics", "/openapi.json"})
"""Paths that need no key, and no name of this machine where there are none: load balancers and
Prometheus have neither, and no texts are shown there."""

SUM_UP_S = 60.0
"""How often the sums of exchanges are brought up to date."""
SUMMED_AT_ONCE = 20
"""Transactions that this may take each time, so that a server can stop soon."""

REMEMBERED = 5000
"""Exchanges that the scorers learn from when the server starts."""

_log = logging.getLogger(__name__)


def create(settings: Settings) -> ASGIApp:
    """The application of one server process."""
    store = Store(settings.data, settings.database)
    writer = Writer(store, settings.workers)
    meters = Metrics(codes=CODES, statuses={shape.status for shape in SHAPES.values()})
    models = Models(settings)
    scores = Scores()
    keys = Keys(store)
    ring = Keyring(keys, closed=not is_loopback(settings.host))
    counters = _counters(settings)
    limits = Limits(keys, ring, counters)
    budgets = Budgets(store, counters)
    students = Students(store, settings.data, models.hosted)
    traces = _traces(settings.traces, models)
    load = Load(settings.limits.in_flight)
    ledger = Ledger(writer, meters, scores, models.teacher, limits, budgets, traces, load)
    conversations = Conversations(settings.data)
    rollouts = Rollouts(settings.loop.rollout, settings.policy, store, students)
    tryouts = Tryouts(settings.hosted, models.hosted, settings.policies.bars, store, ledger)
    auditor = Auditor(models.chain, settings, store, students, rollouts, ledger, tryouts)
    engine = Engine(
        models,
        Routing(
            models,
            settings.policy,
            Precedence(settings, budgets),
            settings.policies.bars,
            conversations,
            Paying(budgets, settings.policy.audit_rate),
            students,
            rollouts,
            scores,
            settings.compute_usd_per_hour * PICO / 3600,
        ),
        Answering(scores, ledger, auditor, rollouts, tryouts, settings.teacher_logprobs),
        limits,
        load,
        meters,
        largest_body=round(settings.limits.body_mb * 1e6),
    )
    standings = Standings(store, settings.policy, ring, limits, budgets, models)
    watch = Watch(meters, load, writer, models, standings)
    console = Console(Parts(settings, store, keys, ring, meters))
    responses = ResponsesDialect(store)
    generating: dict[str, ASGIApp] = {
        "/v1/chat/completions": Endpoint(ChatDialect(), engine),
        "/v1/responses": Endpoint(responses, engine),
        "/v1/messages": Endpoint(MessagesDialect(), engine),
        "/v1/completions": Endpoint(CompletionsDialect(), engine),
        "/v1/embeddings": Embeddings(engine, ledger),
    }

    summing = Background()

    async def sum_up() -> None:
        await asyncio.to_thread(roll_up, store.engine, time.time(), SUMMED_AT_ONCE)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncGenerator[None, None]:
        await ring.start()
        await models.start()
        await students.start()
        rollouts.start()
        await budgets.start()
        watch.start()
        summing.start(keep_fresh(sum_up, SUM_UP_S, "the sums of exchanges"))
        remembering = asyncio.create_task(asyncio.to_thread(_remember, scores, store))
        yield
        await watch.stop()
        await remembering
        await summing.stop()
        await auditor.finish()
        await rollouts.stop()
        await tryouts.finish()
        await students.stop()
        await models.close()
        await ring.stop()
        await budgets.stop()
        await limits.close()
        await writer.close()
        if traces is not None:
            await asyncio.to_thread(traces.close)
        conversations.close()
        store.close()
        requests.flush()

    app = FastAPI(lifespan=lifespan, openapi_url=None)
    app.state.largest_body = engine.largest_body
    for path, endpoint in generating.items():
        app.router.routes.append(Route(path, endpoint, methods=["POST"]))
    add_models(app, models)
    add_token_counts(app, models, scores, responses)
    add_stored(app, store)
    add_responses(app, store)
    add_feedback(app, store, meters)
    add_files(app, store)
    add_jobs(app, store)
    add_keys(app, keys, ring)
    add_tasks(app, store)
    add_probes(app, store, meters, watch)
    add_openapi(app)
    _add_errors(app)

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        # Browsers have no key to send: the console has a door of its own.
        to_console = is_consoles(scope["path"])
        if not to_console:
            scope = usual(scope)
            if ring.closed and is_pages(scope):
                send = shown_to_pages(send)
                if is_preflight(scope):
                    await preflight(scope)(scope, receive, send)
                    return
        open_to_all = scope["path"] in OPEN_TO_ALL
        try:
            if not ring.closed:
                check_local(scope, by_any_name=open_to_all)
            elif not (to_console or open_to_all):
                scope["key"] = ring.caller(scope["headers"])
        except (ForbiddenError, InvalidKeyError) as error:
            refusal = _error(Request(scope), error)
            code = code_of(error)
            meters.rejected(refusal.status_code, code)
            requests.rejected(refusal.headers["x-request-id"], refusal.status_code, code)
            await refusal(scope, receive, send)
            return
        if to_console:
            await console(scope, receive, send)
            return
        # The endpoints that nearly all requests are for need none of FastAPI's layers.
        endpoint = generating.get(scope["path"]) if scope["method"] == "POST" else None
        await (endpoint or app)(scope, receive, send)

    return serve


def _traces(settings: TraceSettings, models: Models) -> Traces | None:
    """What sends traces, where a collector is set."""
    if settings.endpoint is None:
        return None
    # Its libraries take longer to import than a server without them should wait.
    from telemetry.traces import Traces

    return Traces(settings, models.provider)


def _remember(scores: Scores, store: Store) -> None:
    """Let the scorers learn what was known before the server's restart."""
    try:
        scores.remember(newest(store.engine, REMEMBERED))
    except Exception:
        _log.exception("the scorers start afresh")


def _counters(settings: Settings) -> Counters:
    """Where the limits of keys are counted."""
    local = FileCounters(settings.data)
    if settings.redis is None:
        return local
    # Its client takes longer to import than all of the server's start.
    from router.keys.redis import RedisCounters

    return Failover(RedisCounters(settings.redis.get_secret_value()), local)


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        if error.status_code == HTTPStatus.NOT_FOUND:
            likely = meant(request.url.path, app.router.routes)
            better = f". Did you mean {likely}?" if likely else ""
            wrong = f"Unknown path: {request.method} {request.url.path}{better}"
            return _error(request, UnknownPathError(wrong))
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            wrong = f"{request.url.path} does not answer to {request.method}."
            return _error(request, MethodNotAllowedError(wrong), error.headers)
        return _error(request, UnexpectedError(str(error.detail)))

    @app.exception_handler(ProtegeError)
    async def our_error(request: Request, error: ProtegeError) -> Response:
        return _error(request, error)

    @app.exception_handler(SQLAlchemyError)
    async def store_failed(request: Request, error: SQLAlchemyError) -> Response:
        _log.error("the store failed at %s: %s", request.scope["route"].path, error)
        return _error(request, StoreUnavailableError("The store cannot be reached."))

    @app.exception_handler(Exception)
    async def unexpected(request: Request, _error_: Exception) -> Response:
        return _error(request, UnexpectedError("The router failed."))


def _error(request: Request, error: ProtegeError, headers: Any = None) -> Response:
    shown = rendered(error) if is_anthropics(request.scope) else render(error)
    return Response(
        shown.content,
        shown.status,
        media_type="application/json",
        headers={**shown.headers, **(headers or {}), "x-request-id": Arrival(None).id},
    )
