"""Reading along in what a provider sends, where litellm leaves something out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

import httpx


class Reader(Protocol):
    """Reads a response, part by part."""

    def read(self, part: bytes) -> None: ...


_R = TypeVar("_R", bound=Reader)

_reader: ContextVar[Reader | None] = ContextVar("reader", default=None)


def expect(reader: _R) -> _R:
    """Have ``reader`` read the next response that this task asks for."""
    _reader.set(reader)
    return reader


def client() -> Any:
    """An HTTP client for litellm that reads along."""
    from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler

    handler = AsyncHTTPHandler(event_hooks={"response": [_read_along]})
    # Of compressed bytes nothing could be read along the way.
    handler.client.headers["accept-encoding"] = "identity"
    return handler


async def _read_along(response: httpx.Response) -> None:
    reader = _reader.get()
    if reader is not None:
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _Watched(response.stream, reader)


class _Watched(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream, reader: Reader) -> None:
        self._stream = stream
        self._reader = reader

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            self._reader.read(part)
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()
