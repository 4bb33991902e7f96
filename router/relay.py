"""An upstream's stream on its way to the caller, read along the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import orjson

from router.completion import DONE
from router.errors import UpstreamBrokenError, UpstreamTimeoutError
from router.upstreams.answer import Answer, AnswerCollector
from router.upstreams.sse import data_of

_DONE = b"[DONE]"


class Relay:
    """Passes the events of one stream on, each as soon as it has come.

    Only the end waits: the events from the last finish reason on are in ``ending`` when the
    iteration is over, for the caller must not have the whole answer before it is stored.
    """

    def __init__(
        self,
        events: AsyncGenerator[bytes, None],
        timeout_s: float,
        *,
        include_usage: bool,
        hide_logprobs: bool = False,
    ) -> None:
        """``timeout_s`` is for the first token. What the caller did not ask for, usage or
        log-probabilities, is read and not passed on."""
        self._events = events
        self._timeout_s = timeout_s
        self._include_usage = include_usage
        self._hide_logprobs = hide_logprobs
        self._collector = AnswerCollector()
        self._opening: list[bytes] = []
        self._done = False
        self.ending: list[bytes] = []

    def answer(self) -> Answer:
        """What has come so far."""
        return self._collector.answer()

    async def open(self) -> None:
        """Wait for the first token. Raises UpstreamError if there is none by the deadline."""
        try:
            async with asyncio.timeout(self._timeout_s):
                async for event in self._events:
                    self._take(event, self._opening)
                    if self._collector.begun or self._done:
                        break
        except TimeoutError as error:
            raise UpstreamTimeoutError(
                f"The upstream did not answer within {self._timeout_s:g} s."
            ) from error
        if not self._collector.begun:
            raise UpstreamBrokenError("The upstream's stream ended without an answer.")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Raises UpstreamError if the stream breaks."""
        for event in self._opening:
            yield event
        if not self._done:
            async for event in self._events:
                passing: list[bytes] = []
                self._take(event, passing)
                for ready in passing:
                    yield ready
                if self._done:
                    break
        if not self._collector.finished:
            raise UpstreamBrokenError("The upstream's stream ended before the answer was complete.")
        if not self._done:
            # Some servers just stop. Callers wait for the word, and so do the other dialects.
            self.ending.append(DONE)

    async def aclose(self) -> None:
        await self._events.aclose()

    def _take(self, event: bytes, passing: list[bytes]) -> None:
        """Read one event and put what may be sent now into ``passing``."""
        data = data_of(event)
        if data == _DONE:
            self._done = True
            self.ending.append(event)
            return
        if data:
            chunk = self._read(data)
            if not (self._include_usage or chunk.get("choices") or not chunk.get("usage")):
                return
            if self._hide_logprobs and drop_logprobs(chunk):
                event = b"data: " + orjson.dumps(chunk) + b"\n\n"
        if self._collector.finished:
            self.ending.append(event)
        else:
            passing += [*self.ending, event]
            self.ending.clear()

    def _read(self, data: bytes) -> dict[str, Any]:
        """Add a chunk to the answer."""
        try:
            chunk = orjson.loads(data)
            if chunk.get("error"):
                raise UpstreamBrokenError(f"The upstream broke off: {_message(chunk['error'])}")
            self._collector.add(chunk)
            return chunk
        except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError) as error:
            raise UpstreamBrokenError("The upstream sent an event that is not a chunk.") from error


def drop_logprobs(body: dict[str, Any]) -> bool:
    """Take the log-probabilities out of a completion or a chunk; False if it has none."""
    dropped = False
    for choice in body.get("choices") or ():
        if choice.get("logprobs"):
            choice["logprobs"] = None
            dropped = True
    return dropped


def _message(error: object) -> object:
    return error.get("message", error) if isinstance(error, dict) else error
