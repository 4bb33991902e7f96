"""Servers that speak a provider's own wire format: real HTTP on a real port, answers to order."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from aiohttp import web

from tests.router.threaded import Threaded


@dataclass(frozen=True)
class Received:
    """A request as the provider got it."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """What the provider answers: ``whole``, or ``events`` to a request for a stream."""

    whole: dict[str, Any] | bytes
    events: Sequence[bytes] = ()
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    breaks: bool = False
    """Whether the connection is dropped after the last event, instead of ending well."""
    hangs: bool = False
    """Whether nothing comes after the last event until the peer hangs up."""

    @property
    def content(self) -> bytes:
        return self.whole if isinstance(self.whole, bytes) else json.dumps(self.whole).encode()


class BadRequestError(Exception):
    """The request is not one that the provider would take."""


class ProviderStub(Threaded):
    """Runs in a thread from ``start`` to ``stop``; the next answer is set by the test."""

    plain: ClassVar[Reply]
    """The answer that a test gets which asks for no other."""
    compresses: ClassVar[bool] = False
    """Whether streams are compressed for peers that can read that."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Answer plainly again, and forget what has been asked."""
        self.reply = self.plain
        self.requests: list[Received] = []
        self.connections: set[Any] = set()
        self.left = threading.Event()
        """Set when the peer has hung up on a stream that hangs."""

    @property
    def url(self) -> str:
        """The ``base_url`` of this provider."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def last(self) -> Received:
        return self.requests[-1]

    def check(self, received: Received) -> None:
        """Raises BadRequestError for what the provider refuses."""
        raise NotImplementedError

    def is_stream(self, received: Received) -> bool:
        return bool(received.body.get("stream"))

    def refusal(self, message: str) -> Reply:
        """The provider's error for a bad request."""
        raise NotImplementedError

    def add_routes(self, router: web.UrlDispatcher) -> None:
        router.add_post("/{path:.*}", self._answer)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        received = Received(
            path=request.path,
            query=dict(request.query),
            headers={name.lower(): value for name, value in request.headers.items()},
            body=await request.json(),
        )
        self.requests.append(received)
        # The object is kept, or the id of a connection could come back.
        self.connections.add(request.protocol)
        try:
            self.check(received)
            reply = self.reply
        except BadRequestError as error:
            reply = self.refusal(str(error))
        if reply.status != 200 or not self.is_stream(received):
            return web.Response(
                status=reply.status,
                body=reply.content,
                headers={"content-type": "application/json", **reply.headers},
            )
        return await self._stream(request, reply)

    async def _stream(self, request: web.Request, reply: Reply) -> web.StreamResponse:
        # The request forgets its transport once that is closed.
        transport = request.transport
        assert transport is not None
        headers = {"content-type": "text/event-stream", **reply.headers}
        response = web.StreamResponse(headers=headers)
        if self.compresses:
            response.enable_compression()
        await response.prepare(request)
        for event in reply.events:
            await response.write(event)
            # Give each event a network chunk of its own.
            await asyncio.sleep(0)
        if reply.hangs:
            while not transport.is_closing():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            self.left.set()
        if reply.breaks:
            transport.abort()
        return response


def require(condition: bool, message: str) -> None:
    """Raises BadRequestError."""
    if not condition:
        raise BadRequestError(message)
