"""Answers on the wire, in the caller's dialect and with the router's headers: one JSON object, or
a stream of events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from urllib.parse import quote

from starlette.types import Send

from router.dialects.base import Dialect, Writer
from router.errors import ProtegeError
from router.request import ChatRequest
from router.turn import Arrival

Headers = list[tuple[bytes, bytes]]


class Reply:
    """The reply to one request, sent once."""

    def __init__(self, send: Send, arrival: Arrival, dialect: Dialect) -> None:
        self._send = send
        self._arrival = arrival
        self._dialect = dialect
        self._writer: Writer | None = None
        self._headers: Mapping[str, str] = {}
        self.streaming = False
        """Whether a stream has begun, so that errors must be events in it."""

    def begin(self, request: ChatRequest, headers: Mapping[str, str]) -> None:
        """What follows, apart from an error, answers ``request``; ``headers`` go with it."""
        self._headers = headers
        self._writer = self._dialect.writer(request, self._arrival.id, self._arrival.created)

    async def completion(self, content: bytes, headers: Mapping[str, str]) -> None:
        """Say what a ``chat.completion`` object says."""
        await self._json(200, self._writing.whole(content), headers)

    async def error(self, error: ProtegeError, headers: Mapping[str, str] | None = None) -> None:
        rendered = self._dialect.error(error)
        await self._json(rendered.status, rendered.content, {**rendered.headers, **(headers or {})})

    async def start_stream(self, headers: Mapping[str, str]) -> None:
        await self._start(200, [(b"cache-control", b"no-cache")], b"text/event-stream", headers)
        self.streaming = True

    async def event(self, chunk: bytes) -> None:
        """Pass on an event of a chat completion's stream."""
        events = self._writing.events(chunk)
        if events:
            await self._send({"type": "http.response.body", "body": events, "more_body": True})

    async def end(self, chunks: Iterable[bytes]) -> None:
        """Pass the last events on and end the stream."""
        await self._end(b"".join(map(self._writing.events, chunks)))

    async def break_off(self, error: ProtegeError) -> None:
        """End the stream with an error."""
        await self._end(self._writing.failure(error))

    @property
    def _writing(self) -> Writer:
        assert self._writer is not None, "an answer needs a request"
        return self._writer

    async def _end(self, events: bytes) -> None:
        await self._send({"type": "http.response.body", "body": events})

    async def _json(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
        length = (b"content-length", str(len(content)).encode())
        await self._start(status, [length], b"application/json", headers)
        await self._end(content)

    async def _start(
        self, status: int, more: Headers, content_type: bytes, headers: Mapping[str, str]
    ) -> None:
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [
                    (b"content-type", content_type),
                    (b"x-request-id", self._arrival.id.encode()),
                    # Where Anthropic's clients look for it.
                    (b"request-id", self._arrival.id.encode()),
                    *more,
                    *_encoded(self._headers),
                    *_encoded(headers),
                ],
            }
        )


def _encoded(headers: Mapping[str, str]) -> Headers:
    return [(name.encode(), header_value(value)) for name, value in headers.items()]


@lru_cache(maxsize=4096)
def header_value(text: str) -> bytes:
    """``text`` as a header's value: percent-encoded where it is not printable ASCII."""
    return quote(text, safe="!#$&'()*+,/:;=?@[]^`{|}").encode()
