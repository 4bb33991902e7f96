"""The bare pass-through with one choice made otherwise, to see what that choice buys.

python -m bench.variants h11 9001 http://127.0.0.1:9000/v1
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal
from urllib.parse import urlsplit

import aiohttp
import httpx
import orjson
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from router.upstreams.connections import Connections, Origin

Ask = Callable[[Any], Awaitable[bytes]]
"""Sends a request's body and gives the answer's."""

_UPSTREAM = "BENCH_UPSTREAM"


@dataclass(frozen=True, slots=True)
class Variant:
    """What the pass-through is made of; the defaults are the bare one's."""

    title: str = "FastAPI, uvicorn (uvloop, httptools), aiohttp, json"
    server: Literal["uvicorn", "granian"] = "uvicorn"
    loop: Literal["uvloop", "asyncio"] = "uvloop"
    parser: Literal["httptools", "h11"] = "httptools"
    client: Literal["aiohttp", "httpx", "httpx_aiohttp", "httptools"] = "aiohttp"
    json: Literal["json", "orjson"] = "json"
    framework: Literal["fastapi", "asgi"] = "fastapi"

    @property
    def is_installed(self) -> bool:
        return find_spec(self.server) is not None and find_spec(self.client) is not None


VARIANTS = {
    "bare": Variant(),
    "h11": Variant("h11 for httptools", parser="h11"),
    "asyncio": Variant("asyncio's loop for uvloop", loop="asyncio"),
    "granian": Variant("granian for uvicorn", server="granian"),
    "connections": Variant("Protege's connections for aiohttp", client="httptools"),
    "httpx": Variant("httpx, its own pool, for aiohttp", client="httpx"),
    "httpx-aiohttp": Variant("httpx over aiohttp for aiohttp", client="httpx_aiohttp"),
    "orjson": Variant("orjson for json", json="orjson"),
    "asgi": Variant("plain ASGI for FastAPI", framework="asgi"),
}


def create(variant: Variant, upstream: str) -> ASGIApp:
    """The application before the API whose root is ``upstream``."""
    app = FastAPI(lifespan=lambda app: _lifespan(app, variant, f"{upstream}/chat/completions"))
    loads = orjson.loads if variant.json == "orjson" else json.loads

    @app.get("/v1/models")
    async def models() -> dict[str, object]:
        return {"object": "list", "data": []}

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        content = await app.state.ask(loads(await request.body()))
        return Response(content, media_type="application/json")

    async def plain(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await app(scope, receive, send)
            return
        message = await receive()
        raw = message["body"]
        while message["more_body"]:
            message = await receive()
            raw += message["body"]
        content = await app.state.ask(loads(raw))
        length = (b"content-length", str(len(content)).encode())
        headers = [(b"content-type", b"application/json"), length]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    return plain if variant.framework == "asgi" else app


@asynccontextmanager
async def _lifespan(app: FastAPI, variant: Variant, url: str) -> AsyncIterator[None]:
    dumps = orjson.dumps if variant.json == "orjson" else lambda body: json.dumps(body).encode()
    clients = {"aiohttp": _aiohttp, "httptools": _connections}
    async with clients.get(variant.client, _httpx)(variant, url, dumps) as ask:
        app.state.ask = ask
        yield


@asynccontextmanager
async def _aiohttp(_: Variant, url: str, dumps: Callable[[Any], bytes]) -> AsyncIterator[Ask]:
    headers = {"content-type": "application/json"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def ask(body: Any) -> bytes:
            async with session.post(url, data=dumps(body), headers=headers) as answer:
                return await answer.read()

        yield ask


@asynccontextmanager
async def _connections(_: Variant, url: str, dumps: Callable[[Any], bytes]) -> AsyncIterator[Ask]:
    headers = {"content-type": "application/json"}
    connections = Connections(Origin.of(url, None), connect_s=5)
    path = urlsplit(url).path

    async def ask(body: Any) -> bytes:
        with closing(await connections.post(path, headers, dumps(body))) as answer:
            return await answer.read()

    yield ask
    connections.close()


@asynccontextmanager
async def _httpx(variant: Variant, url: str, dumps: Callable[[Any], bytes]) -> AsyncIterator[Ask]:
    headers = {"content-type": "application/json"}
    async with httpx.AsyncClient(transport=_transport(variant), trust_env=False) as client:

        async def ask(body: Any) -> bytes:
            return (await client.post(url, content=dumps(body), headers=headers)).content

        yield ask


def _transport(variant: Variant) -> httpx.AsyncBaseTransport:
    if variant.client == "httpx":
        return httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=None))
    from httpx_aiohttp import AiohttpTransport

    return AiohttpTransport()


def from_environment() -> ASGIApp:
    """What granian's worker process serves."""
    return create(VARIANTS["granian"], os.environ[_UPSTREAM])


def serve(variant: Variant, port: int, upstream: str) -> None:
    if variant.server == "granian":
        os.environ[_UPSTREAM] = upstream
        _serve_with_granian(port)
        return
    uvicorn.run(
        create(variant, upstream),
        port=port,
        loop=variant.loop,
        http=variant.parser,
        access_log=False,
        log_level="warning",
    )


def _serve_with_granian(port: int) -> None:
    from granian import Granian
    from granian.constants import Interfaces, Loops

    Granian(
        "bench.variants:from_environment",
        port=port,
        interface=Interfaces.ASGI,
        loop=Loops.uvloop,
        factory=True,
        log_enabled=False,
    ).serve()


if __name__ == "__main__":
    serve(VARIANTS[sys.argv[1]], int(sys.argv[2]), sys.argv[3])
