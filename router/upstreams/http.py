"""OpenAI-compatible servers: what the caller sent passes through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx
import orjson
from httpx_aiohttp import AiohttpTransport

from router.errors import (
    UpstreamBrokenError,
    UpstreamError,
    UpstreamRefusedError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from router.upstreams.base import Timeouts
from router.upstreams.hints import without_hints
from router.upstreams.sse import EventSplitter

OPENAI = "https://api.openai.com/v1"

# Below the 5 s after which common servers close an idle connection: a request sent at that very
# moment would be lost.
_KEEP_ALIVE_S = 4.0
_HEADERS = [
    (b"content-type", b"application/json"),
    (b"accept-encoding", b"identity"),
    (b"user-agent", b"protege"),
]
_STRICT = ("api.openai.com", "eu.api.openai.com", "us.api.openai.com")
"""Hosts that refuse what they do not know within a message."""
_RETRY_HEADERS = ("retry-after", "retry-after-ms", "x-should-retry")


class HttpUpstream:
    """A model behind an OpenAI-compatible API at ``base_url``."""

    gives_logprobs = True

    def __init__(self, model: str, base_url: str, api_key: str | None, timeouts: Timeouts) -> None:
        self.model = model
        self.timeouts = timeouts
        self._authorization = f"Bearer {api_key}" if api_key else None
        self._chat = httpx.URL(base_url.rstrip("/") + "/chat/completions")
        self._embeddings = httpx.URL(base_url.rstrip("/") + "/embeddings")
        self._takes_hints = self._chat.host not in _STRICT
        # The transport alone: the client around it would add cookies, redirects and hooks, none
        # of which an API call needs, and half as much time again.
        self._transport = AiohttpTransport(client=_session, proxy=_proxy(self._chat))

    async def complete(self, body: dict[str, Any], authorization: str | None) -> bytes:
        return await self._whole(self._chat, self._taken(body), authorization)

    async def embed(self, body: dict[str, Any], authorization: str | None) -> bytes:
        return await self._whole(self._embeddings, body, authorization)

    async def stream(
        self, body: dict[str, Any], authorization: str | None
    ) -> AsyncGenerator[bytes, None]:
        try:
            body = self._taken(body)
            response = await self._send(self._chat, body, authorization, self.timeouts.silence)
            try:
                if "text/event-stream" not in response.headers.get("content-type", ""):
                    raise UpstreamBrokenError("The upstream did not answer with a stream.")
                splitter = EventSplitter()
                async for received in response.aiter_raw():
                    for event in splitter.feed(received):
                        yield event
                for event in splitter.end():
                    yield event
            finally:
                await response.aclose()
        except (httpx.HTTPError, aiohttp.ClientError, OSError) as error:
            raise _translated(error, self.timeouts.silence) from error

    async def close(self) -> None:
        await self._transport.aclose()

    def _taken(self, body: dict[str, Any]) -> dict[str, Any]:
        """As much of a chat completion request as the server takes."""
        return body if self._takes_hints else without_hints(body)

    async def _whole(
        self, url: httpx.URL, body: dict[str, Any], authorization: str | None
    ) -> bytes:
        try:
            async with asyncio.timeout(self.timeouts.whole):
                response = await self._send(url, body, authorization, self.timeouts.whole)
                try:
                    return await _content(response)
                finally:
                    await response.aclose()
        except (httpx.HTTPError, aiohttp.ClientError, OSError) as error:
            raise _translated(error, self.timeouts.whole) from error

    async def _send(
        self, url: httpx.URL, body: dict[str, Any], authorization: str | None, silence_s: float
    ) -> httpx.Response:
        """The response, its body not yet read. Raises UpstreamRefusedError on an error status."""
        headers = _HEADERS
        authorization = self._authorization or authorization
        if authorization:
            headers = [*headers, (b"authorization", authorization.encode("latin-1"))]
        # With content= httpx would look for headers to add, which aiohttp does again.
        content = httpx.ByteStream(orjson.dumps(body))
        extensions = {"timeout": {"connect": self.timeouts.connect, "read": silence_s}}
        request = httpx.Request("POST", url, headers=headers, stream=content, extensions=extensions)
        request.read()
        response = await self._transport.handle_async_request(request)
        if response.status_code == 200:
            return response
        said = await response.aread()
        retry = {
            name: response.headers[name] for name in _RETRY_HEADERS if name in response.headers
        }
        status = response.status_code if response.status_code >= 400 else 502
        raise UpstreamRefusedError(status, said, retry)


async def _content(response: httpx.Response) -> bytes:
    """The whole body."""
    # Compressed though it was asked not to be.
    if "content-encoding" in response.headers:
        return await response.aread()
    # The transport's own stream: through httpx's layers it takes three times as long.
    assert isinstance(response.stream, httpx.AsyncByteStream)
    return b"".join([part async for part in response.stream])


def _session() -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_S)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())


def _proxy(url: httpx.URL) -> httpx.Proxy | None:
    """The proxy that the environment names for ``url``. Looked up once: aiohttp would look for it
    in a thread on every request."""
    proxy = getproxies().get(url.scheme)
    if proxy is None or proxy_bypass(url.host):
        return None
    return httpx.Proxy(proxy)


def _translated(error: Exception, timeout_s: float) -> UpstreamError:
    """Our error for one of httpx, aiohttp or the operating system."""
    said = str(error) or type(error).__name__
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return UpstreamUnreachableError(f"The upstream cannot be reached: {said}")
    if isinstance(error, httpx.TimeoutException | TimeoutError):
        return UpstreamTimeoutError(f"The upstream did not answer within {timeout_s:g} s.")
    return UpstreamUnreachableError(f"The connection to the upstream was lost: {said}")
