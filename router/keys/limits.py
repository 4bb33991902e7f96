"""Limits and budgets of keys: asked before a request is answered, told what the answer took.

Limits hold over all processes that share the counters, to within the requests in flight: what an
answer takes is known only once it is there.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy.exc import SQLAlchemyError

from router.errors import (
    BudgetSpentError,
    ProtegeError,
    RateLimitedError,
    StoreUnavailableError,
)
from router.keys.counters import SPAN_S, Counters, Standing, Window, within
from router.keys.keyring import Keyring
from router.keys.settling import Settling
from router.turn import usd
from telemetry.keys import Key, Keys, period_end, period_start

_NO_HEADERS: Mapping[str, str] = {}

_log = logging.getLogger(__name__)


class Limits:
    """The limits of all keys. Budgets are counted from what ``keys`` says has been spent."""

    def __init__(self, keys: Keys, ring: Keyring, counters: Counters) -> None:
        self._keys = keys
        self._ring = ring
        self._counters = counters
        self._settling = Settling(counters)

    async def close(self) -> None:
        await self._counters.close()

    async def admit(self, key: Key | None) -> Mapping[str, str]:
        """Count a request; the headers that tell how many more there may be, as OpenAI has them.

        Raises RateLimitedError, BudgetSpentError, and StoreUnavailableError where nobody knows
        what has been spent.
        """
        if key is None or not key.limited:
            return _NO_HEADERS
        now = time.time()
        period = period_start(key.period, now)
        standing = await self._settling.standing(key, period, now, lambda: self._spent(key, period))
        if not standing.admitted:
            raise _refusal(key, standing, now)
        return {
            **_headers("requests", key.requests_per_minute, standing.requests, now),
            **_headers("tokens", key.tokens_per_minute, standing.tokens, now),
        }

    async def left(self, key: Key, now: float) -> int:
        """Picodollars that ``key``, which has a budget, may still spend in the period that Unix
        time ``now`` is in. Raises StoreUnavailableError."""
        assert key.budget is not None
        period = period_start(key.period, now)
        # With nothing to spend it is not let in, so that the look does not count as a request.
        barred = replace(key, budget=0)
        standing = await self._settling.standing(
            barred, period, now, lambda: self._spent(key, period)
        )
        if standing.spent is None:
            raise StoreUnavailableError("What the key has spent cannot be read.")
        return max(key.budget - standing.spent, 0)

    async def spend(self, key_id: str | None, tokens: int, cost: int, created: float) -> None:
        """Count what the answer to a request of Unix time ``created`` took: ``cost`` is in
        picodollars. An answer is not lost because this fails."""
        key = self._ring.find(key_id)
        if key is None or not key.limited:
            return
        period = period_start(key.period, created)
        try:
            await self._counters.spend(key, tokens, cost, period, time.time())
        except Exception:
            _log.exception("what key %s spent could not be counted", key.id)

    async def _spent(self, key: Key, period: int) -> int:
        try:
            return await asyncio.to_thread(self._keys.spent, key.id, period)
        except SQLAlchemyError as error:
            _log.error("the budget of key %s cannot be read: %s", key.id, error)
            raise StoreUnavailableError("What the key has spent cannot be read.") from error


def _refusal(key: Key, standing: Standing, now: float) -> ProtegeError:
    """Why a key's request is not let in."""
    if key.budget is not None and standing.spent is None:
        return StoreUnavailableError("What the key has spent cannot be read.")
    if not within(key, _NONE, _NONE, standing.spent):
        renewed = period_end(key.period, now)
        return BudgetSpentError(
            f"The key has spent its budget of {usd(key.budget or 0)} USD a {key.period}. "
            f"It is renewed at {datetime.fromtimestamp(renewed, UTC):%Y-%m-%dT%H:%M:%SZ}.",
            retry_after_s=renewed - now,
        )
    if not within(key, standing.requests, _NONE, standing.spent):
        return _rate("requests", key.requests_per_minute, standing.requests, now)
    return _rate("tokens", key.tokens_per_minute, standing.tokens, now)


def _rate(what: str, limit: int | None, used: Window, now: float) -> ProtegeError:
    wait_s = max(used.oldest + SPAN_S - now, 0.0)
    return RateLimitedError(
        f"Rate limit reached: the key may use {limit} {what} a minute and has used {used.total}. "
        f"Please try again in {wait_s:.0f} s.",
        retry_after_s=wait_s,
    )


def _headers(what: str, limit: int | None, used: Window, now: float) -> dict[str, str]:
    if limit is None:
        return {}
    reset_s = math.ceil(used.newest + SPAN_S - now) if used.total else 0
    return {
        f"x-ratelimit-limit-{what}": str(limit),
        f"x-ratelimit-remaining-{what}": str(max(limit - used.total, 0)),
        f"x-ratelimit-reset-{what}": f"{max(reset_s, 0)}s",
    }


_NONE = Window(0, 0, 0)
