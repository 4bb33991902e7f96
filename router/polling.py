"""What every server process keeps up to date with the store."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

_log = logging.getLogger(__name__)


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
