"""Who may see the console: whoever has shown an admin key, or, on a machine of one's own without
any key, everybody there.

A browser gets one cookie. Forms carry a token that is made from it, which no other site can know,
and are taken from the console's own pages alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from dataclasses import dataclass
from secrets import token_urlsafe
from urllib.parse import urlsplit

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from router.console.application import ROOT
from router.errors import ForbiddenError
from router.keys.access import check_admin
from router.keys.keyring import Keyring
from telemetry.keys import Key
from telemetry.sessions import LIFE_S, Sessions

COOKIE = "protege_console"
FORM_TOKEN = "form_token"
"""Name of the field that every form has."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Whoever sent a request."""

    token: str
    """What its cookie says."""
    key: Key | None
    """The admin key that it has shown."""
    admitted: bool
    """Whether it may see anything but the sign-in page."""

    @property
    def form_token(self) -> str:
        return hashlib.sha256(f"form {self.token}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Access:
    """Admits visitors."""

    ring: Keyring
    sessions: Sessions

    async def visitor(self, request: Request) -> Visitor:
        token = request.cookies.get(COOKIE) or token_urlsafe(32)
        if not self.ring.closed:
            # Whoever comes from elsewhere was turned away before (``router.http.origins``).
            return Visitor(token, None, admitted=True)
        key = self.ring.find(await asyncio.to_thread(self.sessions.key_of, token, time.time()))
        admitted = key is not None and key.admin and key.valid(time.time())
        return Visitor(token, key if admitted else None, admitted)

    async def sign_in(self, secret: str) -> str:
        """The token of a new session. Raises InvalidKeyError or ForbiddenError."""
        key = self.ring.caller([(b"x-api-key", secret.strip().encode())])
        check_admin(key)
        assert key is not None, "nobody is an admin without a key"
        return await asyncio.to_thread(self.sessions.open, key.id, time.time())

    async def sign_out(self, visitor: Visitor) -> None:
        await asyncio.to_thread(self.sessions.close, visitor.token)


def check_origin(request: Request, visitor: Visitor, form: FormData) -> None:
    """Raises ForbiddenError unless the console's own page, as it was shown to this visitor, sent
    the form."""
    # Browsers name the origin with every POST; its scheme may be a proxy's.
    origin = urlsplit(request.headers.get("origin", "")).netloc
    given = str(form.get(FORM_TOKEN, ""))
    known = hmac.compare_digest(given.encode(), visitor.form_token.encode())
    if not known or origin != request.headers.get("host"):
        raise ForbiddenError("This form is not, or no longer, yours. Go back, reload, try again.")


def remember(request: Request, response: Response, token: str) -> None:
    """Have the browser keep ``token``."""
    origin = request.headers.get("origin", "")
    response.set_cookie(
        COOKIE,
        token,
        max_age=int(LIFE_S),
        path=ROOT,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https" or origin.startswith("https://"),
    )
