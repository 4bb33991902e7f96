"""OpenAI-compatible servers: what the caller sent passes through."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncGenerator
from typing import Any
from urllib.request import getproxies, proxy_bypass

import aiohttp
import orjson
from yarl import URL

from router.errors import (
    UpstreamBrokenError,
    UpstreamError,
    UpstreamKeyError,
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
_HEADERS = {
    "content-type": "application/json",
    "accept-encoding": "identity",
    "user-agent": "protege",
}
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
        self._chat = URL(base_url.rstrip("/") + "/chat/completions")
        self._embeddings = URL(base_url.rstrip("/") + "/embeddings")
        self._takes_hints = self._chat.host not in _STRICT
        self._proxy = _proxy(self._chat)
        self._session: aiohttp.ClientSession | None = None
        self._streaming = _timeout(timeouts.connect, timeouts.silence)
        self._answering = _timeout(timeouts.connect, timeouts.whole)

    def serving(self, model: str) -> HttpUpstream:
        """Another model of the same API, over the same connections."""
        self._connections()
        other = copy.copy(self)
        other.model = model
        return other

    async def complete(self, body: dict[str, Any], authorization: str | None) -> bytes:
        return await self._whole(self._chat, self._taken(body), authorization)

    async def embed(self, body: dict[str, Any], authorization: str | None) -> bytes:
        return await self._whole(self._embeddings, body, authorization)

    async def stream(
        self, body: dict[str, Any], authorization: str | None
    ) -> AsyncGenerator[bytes, None]:
        try:
            response = await self._send(
                self._chat, self._taken(body), authorization, self._streaming
            )
            async with response:
                if response.content_type != "text/event-stream":
                    raise UpstreamBrokenError("The upstream did not answer with a stream.")
                splitter = EventSplitter()
                async for received in response.content.iter_any():
                    for event in splitter.feed(received):
                        yield event
                for event in splitter.end():
                    yield event
        except (aiohttp.ClientError, OSError) as error:
            raise _translated(error, self.timeouts.silence) from error

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _connections(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = _session()
        return self._session

    def _taken(self, body: dict[str, Any]) -> dict[str, Any]:
        """As much of a chat completion request as the server takes."""
        return body if self._takes_hints else without_hints(body)

    async def _whole(self, url: URL, body: dict[str, Any], authorization: str | None) -> bytes:
        try:
            async with asyncio.timeout(self.timeouts.whole):
                response = await self._send(url, body, authorization, self._answering)
                async with response:
                    return await response.read()
        except (aiohttp.ClientError, OSError) as error:
            raise _translated(error, self.timeouts.whole) from error

    async def _send(
        self,
        url: URL,
        body: dict[str, Any],
        authorization: str | None,
        limits: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        """The response, its body not yet read. Raises UpstreamRefusedError on an error status."""
        headers = _HEADERS
        authorization = self._authorization or authorization
        if authorization:
            headers = {**headers, "authorization": authorization}
        response = await self._connections().post(
            url,
            data=orjson.dumps(body),
            headers=headers,
            proxy=self._proxy,
            timeout=limits,
            allow_redirects=False,
        )
        if response.status == 200:
            return response
        async with response:
            said = await response.read()
        if response.status == 401 and (self._authorization or authorization is None):
            # The caller has nothing to do with it.
            raise UpstreamKeyError
        retry = {
            name: response.headers[name] for name in _RETRY_HEADERS if name in response.headers
        }
        raise UpstreamRefusedError(response.status if response.status >= 400 else 502, said, retry)


def _session() -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_S)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())


def _timeout(connect_s: float, silence_s: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(sock_connect=connect_s, sock_read=silence_s)


def _proxy(url: URL) -> str | None:
    """The proxy that the environment names for ``url``. Looked up once: aiohttp would look for it
    in a thread on every request."""
    proxy = getproxies().get(url.scheme)
    return None if proxy is None or proxy_bypass(url.host or "") else proxy


def _translated(error: Exception, timeout_s: float) -> UpstreamError:
    """Our error for one of aiohttp or the operating system."""
    said = str(error) or type(error).__name__
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return UpstreamUnreachableError(f"The upstream cannot be reached: {said}")
    if isinstance(error, TimeoutError):
        return UpstreamTimeoutError(f"The upstream did not answer within {timeout_s:g} s.")
    return UpstreamUnreachableError(f"The connection to the upstream was lost: {said}")
