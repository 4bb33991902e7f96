"""The HTTP application: its endpoints, made of the parts of one server process."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.routing import Route
from starlette.types import ASGIApp

from config.settings import Settings
from router.api.counts import add_token_counts
from router.api.embeddings import Embeddings
from router.api.failures import add_failures
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
from router.console.application import Console, Parts
from router.dialects.chat import ChatDialect
from router.dialects.completions import CompletionsDialect
from router.dialects.messages.dialect import MessagesDialect
from router.dialects.responses.dialect import ResponsesDialect
from router.endpoint import Endpoint
from router.http.door import Door
from router.process import Process


def create(settings: Settings) -> ASGIApp:
    """The application of one server process."""
    process = Process(settings)
    engine, store, metrics = process.engine, process.store, process.metrics
    responses = ResponsesDialect(store)
    generating: dict[str, ASGIApp] = {
        "/v1/chat/completions": Endpoint(ChatDialect(), engine),
        "/v1/responses": Endpoint(responses, engine),
        "/v1/messages": Endpoint(MessagesDialect(), engine),
        "/v1/completions": Endpoint(CompletionsDialect(), engine),
        "/v1/embeddings": Embeddings(engine, process.ledger),
    }
    app = FastAPI(lifespan=lambda _app: process.running(), openapi_url=None)
    app.state.largest_body = engine.largest_body
    for path, endpoint in generating.items():
        app.router.routes.append(Route(path, endpoint, methods=["POST"]))
    add_models(app, process.models, engine.routing.students)
    add_token_counts(app, process.models, engine.routing.students, process.scores, responses)
    add_stored(app, store)
    add_responses(app, store)
    add_feedback(app, store, metrics)
    add_files(app, store)
    add_jobs(app, store)
    add_keys(app, process.keys, process.ring)
    add_tasks(app, store)
    add_probes(app, store, metrics, process.watch)
    add_openapi(app)
    add_failures(app)
    console = Console(Parts(settings, store, process.keys, process.ring, metrics))
    return Door(process.ring, metrics, console, generating, app)
