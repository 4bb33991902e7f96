"""Failing open: while Protege cannot be reached, its calls go straight to the provider."""

from __future__ import annotations

import json
import logging
import os
import time
from typing import TYPE_CHECKING, Any

from protege.provenance import DIRECT, ROUTE_HEADER

if TYPE_CHECKING:
    import httpx2

OPENAI = "https://api.openai.com/v1"
OUTAGE_S = 30.0
"""Seconds for which a server that could not be reached is not tried again."""

_log = logging.getLogger("protege")

_ANSWERED = ("chat/completions", "completions", "embeddings", "responses")
"""What a provider can answer as well. All else is about what Protege has stored."""
_ROUTES = ("auto", "teacher", "student")
"""Models that Protege alone knows."""
_VIRTUAL_KEY = "sk-protege-"
_OPENAI_KEY = "sk-"
_OURS = "x-protege-"
_REPLACED = ("host", "content-length", "authorization")


class Fallback:
    """The provider behind Protege, and which servers are out of reach.

    An argument that is None is read from the environment: ``PROTEGE_FALLBACK_BASE_URL``,
    ``PROTEGE_FALLBACK_API_KEY``, ``PROTEGE_FALLBACK_MODEL``. With an empty base URL no call goes
    past Protege.
    """

    def __init__(self, base_url: str | None, api_key: str | None, model: str | None) -> None:
        self._base_url = _setting(base_url, "BASE_URL")
        self._api_key = _setting(api_key, "API_KEY")
        self._model = _setting(model, "MODEL")
        self._down_until: dict[str, float] = {}
        """By the server's base URL, on the monotonic clock."""

    def during_outage(self, request: httpx2.Request, router: str) -> httpx2.Request | None:
        """What to send to the provider, if the server at ``router`` is known to be out of reach."""
        if time.monotonic() >= self._down_until.get(router, 0.0):
            return None
        return self._direct(request, router)

    def after(
        self, error: Exception, request: httpx2.Request, router: str
    ) -> httpx2.Request | None:
        """What to send to the provider, now that ``request`` has failed.

        None unless the server could not be reached at all: what it may have begun to answer is
        not for this module to ask again.
        """
        # httpx2's or, with a client of the caller's own, httpx's.
        if type(error).__name__ not in ("ConnectError", "ConnectTimeout"):
            return None
        direct = self._direct(request, router)
        if direct is not None:
            self._down_until[router] = time.monotonic() + OUTAGE_S
            _log.warning(
                "Protege cannot be reached at %s (%s); for %g s calls go straight to %s",
                router,
                error,
                OUTAGE_S,
                self._base_url or OPENAI,
            )
        return direct

    def _direct(self, request: httpx2.Request, router: str) -> httpx2.Request | None:
        """The request as the provider is to have it; None if the provider is not to be asked."""
        path = str(request.url).removeprefix(router)
        if request.method != "POST" or path.partition("?")[0] not in _ANSWERED:
            return None
        key = self._key(request.headers.get("authorization", ""))
        content = self._content(request.content)
        if self._base_url == "" or key is None or content is None:
            return None
        kept = [
            (name, value)
            for name, value in request.headers.multi_items()
            if name not in _REPLACED and not name.startswith(_OURS)
        ]
        return type(request)(
            request.method,
            f"{(self._base_url or OPENAI).rstrip('/')}/{path}",
            headers=[*kept, ("authorization", f"Bearer {key}")],
            content=content,
            extensions=request.extensions,
        )

    def _key(self, authorization: str) -> str | None:
        """A key that is the provider's, if there is one.

        Protege's own keys go to nobody else. And where nobody has named a provider, neither key
        nor text goes to OpenAI unless the key looks like one of OpenAI's.
        """
        if self._api_key:
            return self._api_key
        key = authorization.removeprefix("Bearer ")
        if key.startswith(_VIRTUAL_KEY):
            return None
        return key if self._base_url or key.startswith(_OPENAI_KEY) else None

    def _content(self, content: bytes) -> bytes | None:
        """The body without what is meant for Protege; None if Protege alone can answer it."""
        body: dict[str, Any] = json.loads(content)
        if body.get("previous_response_id") or _refers(body.get("input")):
            return None
        if body.get("model") in _ROUTES:
            if not self._model:
                return None
            body["model"] = self._model
        metadata = body.get("metadata")
        if metadata and "task" in metadata:
            del metadata["task"]
            # Without a task there might be none at all.
            if not metadata:
                del body["metadata"]
        return json.dumps(body).encode()


def mark(response: httpx2.Response) -> httpx2.Response:
    """The provider's ``response``, which now says that it is."""
    response.headers[ROUTE_HEADER] = DIRECT
    return response


def _refers(given: object) -> bool:
    """Whether a response's input refers to items that Protege alone has stored."""
    return isinstance(given, list) and any(map(_is_reference, given))


def _is_reference(item: object) -> bool:
    """A reference need not say what it is, nor need a message."""
    if not isinstance(item, dict):
        return False
    kind = item.get("type") or ("message" if {"role", "content"} & item.keys() else None)
    return kind in (None, "item_reference")


def _setting(argument: str | None, name: str) -> str | None:
    return argument if argument is not None else os.environ.get(f"PROTEGE_FALLBACK_{name}")
