"""Live figures as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator

import orjson
import uvicorn
from starlette.responses import Response, StreamingResponse

from router.console import words
from router.console.access import Access
from router.console.page import Page
from router.console.period import Total
from telemetry.figures import sums
from telemetry.store import Store

EVERY_S = 2.0
_LONGEST_S = 600.0
"""After so long the browser has to ask anew, and must still be somebody who may."""
_LOOK_S = 0.25
"""How soon a stream notices that the server stops."""
_MINUTE_S = 60
_DAY_S = 86400


class Feed:
    """The same figures for everybody who watches, looked up once."""

    def __init__(self, store: Store, access: Access) -> None:
        self._store = store
        self._access = access
        self._looking = asyncio.Lock()
        self._event = b""
        self._until = 0.0

    async def stream(self, page: Page) -> Response:
        return StreamingResponse(self._events(page), media_type="text/event-stream")

    async def _events(self, page: Page) -> AsyncIterator[bytes]:
        ends = time.monotonic() + _LONGEST_S
        while time.monotonic() < ends:
            yield await self._newest()
            for _ in range(round(EVERY_S / _LOOK_S)):
                await asyncio.sleep(_LOOK_S)
                if _is_stopping():
                    return
            # The key may have been revoked, and the visitor may have signed out.
            if not (await self._access.visitor(page.request)).admitted:
                return

    async def _newest(self) -> bytes:
        async with self._looking:
            if time.monotonic() >= self._until:
                self._event = await asyncio.to_thread(self._look)
                self._until = time.monotonic() + EVERY_S
        return self._event

    def _look(self) -> bytes:
        now = time.time()
        engine = self._store.engine
        minute = Total.of(sums(engine, now - _MINUTE_S, now))
        day = Total.of(sums(engine, now // _DAY_S * _DAY_S, now))
        figures = {
            "requests": words.count(minute.requests),
            "student-share": words.share(minute.student_share),
            "latency": words.seconds(words.ratio(minute.latency_s, minute.requests)),
            "spent": words.usd(day.spent),
            "saved": words.usd(day.saved),
        }
        return b"event: figures\ndata: " + orjson.dumps(figures) + b"\n\n"


def _is_stopping() -> bool:
    """Whether the server has been told to stop: it waits for streams, which have no end."""
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return isinstance(server, uvicorn.Server) and server.should_exit
