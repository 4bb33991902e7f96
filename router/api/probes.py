"""For whoever watches the process: is it alive, can it serve, what has it done."""

from __future__ import annotations

import asyncio
import logging

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from router.api.wire import answered
from router.errors import NotReadyError
from router.turn import Arrival
from router.watch import Watch
from telemetry.metrics import Metrics
from telemetry.store import Store

_log = logging.getLogger(__name__)


def add_probes(app: FastAPI, store: Store, metrics: Metrics, watch: Watch) -> None:
    """``/healthz``, ``/readyz`` and ``/metrics``."""

    @app.get("/healthz")
    async def healthz() -> Response:
        return answered({"status": "ok"})

    @app.get("/readyz")
    async def readyz() -> Response:
        try:
            await asyncio.to_thread(store.roster.serving)
        except Exception as error:
            _log.warning("the store cannot be read: %s", error)
            raise NotReadyError("The store cannot be read.") from error
        return answered({"status": "ready"})

    @app.get("/metrics")
    async def scrape(request: Request) -> Response:
        identified = {"x-request-id": Arrival(None).id}
        await watch.look()
        # Off the event loop: with many tasks and workers it takes a while.
        accept = request.headers.get("accept", "")
        shown = await asyncio.to_thread(metrics.render, accept)
        return Response(shown.content, media_type=shown.content_type, headers=identified)
