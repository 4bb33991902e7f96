"""The console as an ASGI application that costs nothing until somebody looks at it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from config.settings import Settings
from router.keys.keyring import Keyring
from telemetry.keys import Keys
from telemetry.metrics import Metrics
from telemetry.store import Store

ROOT = "/console"
"""The path of its first page; all others are below."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the console shows and changes."""

    settings: Settings
    store: Store
    keys: Keys
    ring: Keyring
    metrics: Metrics


class Console:
    """Made of its ``parts`` at the first request."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._building = asyncio.Lock()
        self._site: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._building:
            if self._site is None:
                self._site = await asyncio.to_thread(_built, self._parts)
        await self._site(scope, receive, send)


def is_consoles(path: str) -> bool:
    """Whether the console answers for ``path``."""
    return path == ROOT or path.startswith(f"{ROOT}/")


def _built(parts: Parts) -> ASGIApp:
    # It brings the templates, which no request of the API needs.
    from router.console.site import site

    return site(parts)
