"""The bare pass-through: what a gateway costs that does nothing but pass on.

FastAPI on uvicorn (uvloop, httptools) with aiohttp, as one would write it in an afternoon: no key,
no log, no decision, no metrics.

    python -m bench.passthrough 9001 http://127.0.0.1:9000/v1
    python -m bench.passthrough 9001 http://127.0.0.1:9000/v1 2  # in two worker processes
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import Response, StreamingResponse

_UPSTREAM = "BARE_UPSTREAM"
"""Variable that tells worker processes the root of the API."""


def create() -> FastAPI:
    """The application before the API."""
    upstream = os.environ[_UPSTREAM]

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            app.state.session = session
            yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/v1/models")
    async def models() -> dict[str, object]:
        return {"object": "list", "data": []}

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        body = await request.json()
        answer = await app.state.session.post(f"{upstream}/chat/completions", json=body)
        if body.get("stream"):
            return StreamingResponse(_chunks(answer), answer.status, media_type="text/event-stream")
        async with answer:
            return Response(await answer.read(), answer.status, media_type=answer.content_type)

    return app


async def _chunks(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    async with answer:
        async for received in answer.content.iter_any():
            yield received


if __name__ == "__main__":
    os.environ[_UPSTREAM] = sys.argv[2]
    uvicorn.run(
        "bench.passthrough:create",
        factory=True,
        port=int(sys.argv[1]),
        workers=int(sys.argv[3]) if len(sys.argv) > 3 else 1,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )
