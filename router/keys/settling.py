"""Budgets whose durable truth is the store: it is asked before the first request of a period, once
in each process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from router.keys.counters import Counted, Counters, Standing


class Settling:
    """Asks ``counters``, and settles with them what they do not know."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._asking = asyncio.Lock()

    async def standing(
        self, counted: Counted, period: int, now: float, spent: Callable[[], Awaitable[int]]
    ) -> Standing:
        """Count a request, as `Counters.admit` does. ``spent`` gives the picodollars of the period
        by the store's account. Raises what it raises."""
        standing = await self._counters.admit(counted, period, now)
        if counted.budget is None or standing.spent is not None:
            return standing
        async with self._asking:
            # Another request may have asked the store while this one waited to.
            standing = await self._counters.admit(counted, period, now)
            if standing.spent is not None:
                return standing
            await self._counters.settle(counted, period, await spent())
            return await self._counters.admit(counted, period, now)
