"""OpenAI-compatible servers: what the caller sent passes through."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncGenerator
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

from router.checks import written
from router.errors import (
    UpstreamBrokenError,
    UpstreamError,
    UpstreamKeyError,
    UpstreamRefusedError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from router.upstreams.base import Timeouts, without_keys
from router.upstreams.connections import ConnectError, Connections, CutError, Origin, Response
from router.upstreams.hints import without_hints
from router.upstreams.proxies import proxy_of
from router.upstreams.sse import EventSplitter

OPENAI = "https://api.openai.com/v1"

_HEADERS = {
    "content-type": "application/json",
    "accept-encoding": "identity",
    "user-agent": "protege",
}
_STRICT = ("api.openai.com", "eu.api.openai.com", "us.api.openai.com")
"""Hosts that refuse what they do not know within a message."""
_AS_IT_IS = "surrogateescape"
_RETRY_HEADERS = ("retry-after", "retry-after-ms", "x-should-retry")


class HttpUpstream:
    """A model behind an OpenAI-compatible API at ``base_url``, whose query goes with each request.

    Raises ConfigError where the environment names a proxy before it that cannot be used.
    """

    gives_logprobs = True

    def __init__(self, model: str, base_url: str, api_key: str | None, timeouts: Timeouts) -> None:
        self.model = model
        self.timeouts = timeouts
        self._authorization = f"Bearer {api_key}" if api_key else None
        self._api_key = api_key
        url = urlsplit(base_url)
        root = url.path.rstrip("/")
        query = f"?{url.query}" if url.query else ""
        self._chat = f"{root}/chat/completions{query}"
        self._embeddings = f"{root}/embeddings{query}"
        self._takes_hints = url.hostname not in _STRICT
        self._connections = Connections(Origin.of(base_url, proxy_of(url)), timeouts.connect)

    def serving(self, model: str) -> HttpUpstream:
        """Another model of the same API, over the same connections."""
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
                self._chat, self._taken(body), authorization, self.timeouts.silence
            )
            with closing(response):
                kind = response.headers.get("content-type", "")
                if kind.partition(";")[0].strip().lower() != "text/event-stream":
                    raise UpstreamBrokenError("The upstream did not answer with a stream.")
                splitter = EventSplitter()
                async for received in response.pieces():
                    for event in splitter.feed(received):
                        yield event
                for event in splitter.end():
                    yield event
        except OSError as error:
            raise _translated(error, self.timeouts.silence) from error

    async def close(self) -> None:
        self._connections.close()

    def _taken(self, body: dict[str, Any]) -> dict[str, Any]:
        """As much of a chat completion request as the server takes."""
        return body if self._takes_hints else without_hints(body)

    async def _whole(self, path: str, body: dict[str, Any], authorization: str | None) -> bytes:
        try:
            async with asyncio.timeout(self.timeouts.whole):
                response = await self._send(path, body, authorization, None)
                with closing(response):
                    return await response.read()
        except OSError as error:
            raise _translated(error, self.timeouts.whole) from error

    async def _send(
        self,
        path: str,
        body: dict[str, Any],
        authorization: str | None,
        silence_s: float | None,
    ) -> Response:
        """The response, its body not yet read. Raises UpstreamRefusedError on an error status."""
        headers = _HEADERS
        authorization = self._authorization or authorization
        if authorization:
            headers = {**headers, "authorization": authorization}
        response = await self._connections.post(path, headers, written(body), silence_s)
        if response.status == 200:
            return response
        with closing(response):
            said = await response.read()
        if response.status == 401 and (self._authorization or authorization is None):
            # The caller has nothing to do with it.
            raise UpstreamKeyError
        # Whatever is not UTF-8 passes as it is.
        said = without_keys(said.decode(errors=_AS_IT_IS), [self._api_key]).encode(errors=_AS_IT_IS)
        retry = {
            name: response.headers[name] for name in _RETRY_HEADERS if name in response.headers
        }
        raise UpstreamRefusedError(response.status if response.status >= 400 else 502, said, retry)


def _translated(error: OSError, timeout_s: float) -> UpstreamError:
    """Our error for one of the connection's."""
    said = str(error) or type(error).__name__
    if isinstance(error, ConnectError):
        return UpstreamUnreachableError(f"The upstream cannot be reached: {said}")
    if isinstance(error, CutError):
        return UpstreamBrokenError(f"The upstream's answer broke off: {said}")
    if isinstance(error, TimeoutError):
        return UpstreamTimeoutError(f"The upstream did not answer within {timeout_s:g} s.")
    return UpstreamUnreachableError(f"The connection to the upstream was lost: {said}")
