"""Finding an exchange that a caller speaks of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from router.errors import NotFoundError
from telemetry.exchange import Exchange

_SOON_S = 0.1


def is_searchable(text: str) -> bool:
    """Whether there can be such a text in the store: no database takes null characters."""
    return "\0" not in text


async def exchange_of(look: Callable[[], Exchange | None], identifier: str) -> Exchange:
    """What ``look`` finds in the store. Raises NotFoundError.

    A student's answer reaches its caller some milliseconds before its exchange reaches the store:
    what is not there yet is looked for once more.
    """
    found = None
    if is_searchable(identifier):
        found = await asyncio.to_thread(look)
        if found is None:
            await asyncio.sleep(_SOON_S)
            found = await asyncio.to_thread(look)
    if found is None:
        raise NotFoundError(f"Nothing is stored under the id '{identifier}'.")
    return found
