"""Notices that the caller has hung up, and ends what is being done for it."""

from __future__ import annotations

import asyncio
from types import TracebackType

from starlette.types import Receive

PATIENCE_S = 0.02
"""Most answers are there before it is worth while to look whether the caller still is."""


class CallerGoneError(Exception):
    """The caller hung up."""


class WhileCallerWaits:
    """Cancels the block when the caller hangs up, which then raises CallerGoneError.

    Used as ``asyncio.timeout`` is. The request's body must have been read.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._watch: asyncio.Task[None] | None = None
        self._gone = False

    async def __aenter__(self) -> WhileCallerWaits:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        self._timer = asyncio.get_running_loop().call_later(PATIENCE_S, self._begin)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        if self._watch is not None:
            self._watch.cancel()
        # A cancellation that somebody else asked for at the same time goes on.
        if self._gone and self._task.uncancel() <= self._cancelling and kind is not None:
            raise CallerGoneError from error

    def _begin(self) -> None:
        self._watch = asyncio.create_task(self._wait())

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        self._task.cancel()
