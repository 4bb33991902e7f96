"""What every server process keeps up to date with the store, beside the requests."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine

_log = logging.getLogger(__name__)


class Background:
    """One piece of work beside the requests, from `start` until `stop` cancels it."""

    def __init__(self) -> None:
        self._work: asyncio.Task[None] | None = None

    def start(self, work: Coroutine[None, None, None]) -> None:
        self._work = asyncio.create_task(work)

    async def stop(self) -> None:
        if self._work is not None:
            self._work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._work


async def keep_fresh(refresh: Callable[[], Awaitable[None]], every_s: float, what: str) -> None:
    """Call ``refresh`` again and again, until cancelled.

    Where ``what`` cannot be read it stays as it is; that is logged once, not at every attempt.
    """
    failing = False
    while True:
        await asyncio.sleep(every_s)
        try:
            await refresh()
        except Exception as error:
            if not failing:
                _log.error("%s cannot be read from the store and stay as they are: %s", what, error)
            failing = True
        else:
            failing = False
