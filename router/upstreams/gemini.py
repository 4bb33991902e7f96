"""Whether a stream of Gemini's has come to its end.

litellm takes every chunk of Gemini's for a last one, so that it ends a stream well that stopped in
the middle of an answer. Here the bytes are read along the way for a reason to end.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Any

import httpx

_REASONS = (b'"finishReason"', b'"blockReason"')
_LONGEST = max(map(len, _REASONS))


class End:
    """Set when the provider has said why its answer ends."""

    def __init__(self) -> None:
        self.came = False
        self._tail = b""

    def read(self, part: bytes) -> None:
        # A reason may straddle two parts.
        content = self._tail + part
        self.came = self.came or any(reason in content for reason in _REASONS)
        self._tail = content[-_LONGEST:]


_end: ContextVar[End | None] = ContextVar("end", default=None)


def expect_end() -> End:
    """What the next stream that this task begins will set."""
    end = End()
    _end.set(end)
    return end


def client() -> Any:
    """An HTTP client for litellm that reads along."""
    from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler

    handler = AsyncHTTPHandler(event_hooks={"response": [_read_along]})
    # Of compressed bytes nothing could be read along the way.
    handler.client.headers["accept-encoding"] = "identity"
    return handler


async def _read_along(response: httpx.Response) -> None:
    end = _end.get()
    if end is not None:
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _Watched(response.stream, end)


class _Watched(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream, end: End) -> None:
        self._stream = stream
        self._end = end

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            self._end.read(part)
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()
