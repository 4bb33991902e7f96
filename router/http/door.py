"""Who is let in, and to which of the applications."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from router.api.failures import refusal
from router.console.application import Console, is_consoles
from router.errors import ForbiddenError, InvalidKeyError
from router.http.azure import as_openais
from router.http.origins import check_local, is_pages, is_preflight, preflight, shown_to_pages
from router.http.paths import usual
from router.keys.keyring import Keyring
from router.ledger import code_of
from telemetry.logs import requests
from telemetry.metrics import Metrics

OPEN_TO_ALL = frozenset({"/healthz", "/readyz", "/metrics", "/openapi.json"})
"""Paths that need no key, and no name of this machine where there are none: load balancers and
Prometheus have neither, and no texts are shown there."""


@dataclass(frozen=True, slots=True)
class Door:
    """The application before all others."""

    ring: Keyring
    metrics: Metrics
    console: Console
    generating: Mapping[str, ASGIApp]
    """By path, what is posted to by nearly all requests: it needs none of FastAPI's layers."""
    others: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.others(scope, receive, send)
            return
        # Browsers have no key to send: the console has a door of its own.
        to_console = is_consoles(scope["path"])
        if not to_console:
            scope = as_openais(usual(scope))
            if self.ring.closed and is_pages(scope):
                send = shown_to_pages(send)
                if is_preflight(scope):
                    await preflight(scope)(scope, receive, send)
                    return
        try:
            self._let_in(scope, to_console)
        except (ForbiddenError, InvalidKeyError) as error:
            refused, code = refusal(Request(scope), error), code_of(error)
            self.metrics.rejected(refused.status_code, code)
            requests.rejected(refused.headers["x-request-id"], refused.status_code, code)
            await refused(scope, receive, send)
            return
        if to_console:
            await self.console(scope, receive, send)
            return
        endpoint = self.generating.get(scope["path"]) if scope["method"] == "POST" else None
        await (endpoint or self.others)(scope, receive, send)

    def _let_in(self, scope: Scope, to_console: bool) -> None:
        """Note whose key a request has, where it needs one. Raises ForbiddenError or
        InvalidKeyError."""
        open_to_all = scope["path"] in OPEN_TO_ALL
        if not self.ring.closed:
            check_local(scope, by_any_name=open_to_all)
        elif not (to_console or open_to_all):
            scope["key"] = self.ring.caller(scope["headers"])
