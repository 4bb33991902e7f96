"""The interface to an API that callers speak."""

from __future__ import annotations

from typing import Any, Protocol

from router.errors import ProtegeError, Rendered
from router.request import ChatRequest
from telemetry.exchange import Dialect as Name


class Writer(Protocol):
    """Writes one answer, whole or as a stream, in the caller's dialect."""

    def whole(self, completion: bytes) -> bytes:
        """The answer that says what a ``chat.completion`` object says."""
        ...

    def events(self, chunk: bytes) -> bytes:
        """The events, maybe none, that follow from one event of a chat completion's stream.

        ``chunk`` is a whole server-sent event with the blank line that ends it; the last one is
        ``data: [DONE]``.
        """
        ...

    def failure(self, error: ProtegeError) -> bytes:
        """The events that end a stream which broke off."""
        ...


class Dialect(Protocol):
    """One API: how its requests are read and its answers written."""

    name: Name

    async def read(self, raw: bytes, key: str | None) -> dict[str, Any]:
        """The chat completion request that says the same as the body ``raw``.

        ``key`` is the id of the caller's virtual key, None without one: what a request refers to
        must be the caller's own. Raises InvalidRequestError or NotFoundError, and
        SeveralRequestsError where it takes several to say it.
        """
        ...

    def writer(self, request: ChatRequest, identifier: str, created: float) -> Writer:
        """Writes the answer of the exchange ``identifier`` from Unix time ``created``."""
        ...

    def error(self, error: ProtegeError) -> Rendered: ...
