"""For whoever watches the process: is it alive, can it serve, what has it done."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor

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

    # Of its own: those that read the store may all be waiting for it.
    rendering = ThreadPoolExecutor(1, "scrape")

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
        loop = asyncio.get_running_loop()
        shown = await loop.run_in_executor(rendering, metrics.render, accept)
        return Response(shown.content, media_type=shown.content_type, headers=identified)
