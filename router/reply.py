"""Answers on the wire: one JSON object, or a stream of events, with the router's headers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import quote

from starlette.types import Send

from router.errors import ProtegeError, Rendered, render

Headers = list[tuple[bytes, bytes]]


class Reply:
    """The reply to one request, sent once."""

    def __init__(self, send: Send, identifier: str) -> None:
        self._send = send
        self._identifier = identifier

    async def json(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
        await self._start(
            status, [(b"content-length", str(len(content)).encode())], b"application/json", headers
        )
        await self._send({"type": "http.response.body", "body": content})

    async def error(
        self, error: ProtegeError, headers: Mapping[str, str] | None = None
    ) -> Rendered:
        rendered = render(error)
        await self.json(rendered.status, rendered.content, {**rendered.headers, **(headers or {})})
        return rendered

    async def start_stream(self, headers: Mapping[str, str]) -> None:
        await self._start(200, [(b"cache-control", b"no-cache")], b"text/event-stream", headers)

    async def events(self, events: bytes) -> None:
        await self._send({"type": "http.response.body", "body": events, "more_body": True})

    async def end(self, events: bytes) -> None:
        await self._send({"type": "http.response.body", "body": events})

    async def _start(
        self, status: int, more: Headers, content_type: bytes, headers: Mapping[str, str]
    ) -> None:
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [
                    (b"content-type", content_type),
                    (b"x-request-id", self._identifier.encode()),
                    *more,
                    *((name.encode(), header_value(value)) for name, value in headers.items()),
                ],
            }
        )


@lru_cache(maxsize=4096)
def header_value(text: str) -> bytes:
    """``text`` as a header's value: percent-encoded where it is not printable ASCII."""
    return quote(text, safe="!#$&'()*+,/:;=?@[]^`{|}").encode()
