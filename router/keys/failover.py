"""Counters that do without Redis while it is down.

An outage of Redis stops nobody and lifts no limit: each machine then counts on its own. What all
replicas together let through is more than the limit only by what each lets through by itself, and
budgets start from what the store says was spent.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from router.keys.counters import Counted, Counters, CountersLostError, Standing, Sum

RETRY_S = 1.0

_SHARED, _LOCAL = "shared:", "local:"

_Answer = TypeVar("_Answer")
_log = logging.getLogger(__name__)


class Failover:
    """Counts in ``shared``, and in ``local`` while that cannot be reached."""

    def __init__(self, shared: Counters, local: Counters) -> None:
        self._shared = shared
        self._local = local
        self._down = False
        self._retry_at = 0.0

    async def admit(self, counted: Counted, period: int, now: float) -> Standing:
        return await self._ask(lambda counters: counters.admit(counted, period, now))

    async def spend(self, counted: Counted, tokens: int, cost: int, period: int, now: float) -> Sum:
        async def spend(counters: Counters) -> Sum:
            sum_ = await counters.spend(counted, tokens, cost, period, now)
            return sum_ and (_SHARED if counters is self._shared else _LOCAL) + sum_

        return await self._ask(spend)

    async def take_back(self, counted: Counted, cost: int, period: int, from_: Sum) -> None:
        if from_.startswith(_LOCAL):
            await self._local.take_back(counted, cost, period, from_.removeprefix(_LOCAL))
        elif from_.startswith(_SHARED) and not self._rests():
            # Where that is lost it stays counted, as what a killed server has counted does.
            with suppress(CountersLostError):
                found = from_.removeprefix(_SHARED)
                await self._shared.take_back(counted, cost, period, found)

    async def settle(self, counted: Counted, period: int, spent: int) -> None:
        await self._ask(lambda counters: counters.settle(counted, period, spent))

    def doubt(self) -> None:
        self._shared.doubt()
        self._local.doubt()

    async def close(self) -> None:
        await self._shared.close()
        await self._local.close()

    def _rests(self) -> bool:
        """Whether the shared counters are down and it is too early to try them again."""
        return self._down and time.monotonic() < self._retry_at

    async def _ask(self, question: Callable[[Counters], Awaitable[_Answer]]) -> _Answer:
        if self._rests():
            return await question(self._local)
        # One call tries; those that come meanwhile do not wait for it.
        self._retry_at = time.monotonic() + RETRY_S
        try:
            answer = await question(self._shared)
        except CountersLostError as error:
            if not self._down:
                _log.warning("Redis is down, each machine counts limits on its own: %s", error)
                self._down = True
                self.doubt()
            return await question(self._local)
        if self._down:
            _log.warning("Redis is back: limits are counted there again")
            self._down = False
        return answer
