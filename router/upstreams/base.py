"""The interface to whoever answers over the network."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

_SHORTEST_KEY = 8
"""Characters of what is kept out of errors as a key. Shorter ones, such as ``none``, are those of
servers that look at no key, and part of other words."""


def without_keys(said: str, keys: Iterable[str | None]) -> str:
    """What an upstream says of an error, with stars for keys: there are servers that say what they
    were sent.

    >>> without_keys("not for sk-0123456789", ["sk-0123456789", None])
    'not for ***'
    """
    for key in keys:
        if key is not None and len(key) >= _SHORTEST_KEY:
            said = said.replace(key, "***")
    return said


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long an upstream is waited for, in seconds."""

    connect: float
    silence: float
    """Before the first token of a stream, and between two."""
    whole: float
    """For the whole answer."""


class Upstream(Protocol):
    """One model of one provider.

    ``body`` is a chat completion request with the upstream's own model name in it, and
    ``authorization`` the caller's header, which is used where the upstream has no key of its own.
    All methods raise the errors under ``router.errors.UpstreamError``.
    """

    model: str
    """What the provider calls it."""
    timeouts: Timeouts
    gives_logprobs: bool
    """Whether it may be asked for log-probabilities that the caller has not asked for."""

    async def complete(self, body: dict[str, Any], authorization: str | None) -> bytes:
        """A ``chat.completion`` object as JSON."""
        ...

    def stream(
        self, body: dict[str, Any], authorization: str | None
    ) -> AsyncGenerator[bytes, None]:
        """Server-sent events as they arrive, each whole and with the blank line that ends it."""
        ...

    async def embed(self, body: dict[str, Any], authorization: str | None) -> bytes:
        """The list of embeddings, as JSON, for an embeddings request in place of a chat's."""
        ...

    async def close(self) -> None: ...
