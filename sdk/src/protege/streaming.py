"""openai's ``.stream()`` helpers: what they give says how it was made, as its final answer does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

from protege.provenance import Routing, tell


def told(method: Callable[..., Any]) -> Callable[..., Any]:
    """``method``, a ``.stream()`` of one of openai's resources; its streams have a ``protege``."""

    @wraps(method)
    def call(*arguments: Any, **options: Any) -> _Manager:
        return _Manager(method(*arguments, **options))

    return call


class _Manager:
    """Enters and leaves as openai's own ``manager`` of a stream does."""

    def __init__(self, manager: Any) -> None:
        self._manager = manager

    def __enter__(self) -> Any:
        stream = self._manager.__enter__()
        if made := _made(stream):
            tell(stream, made)
            _end_with(stream, lambda final: lambda: _told(final(), made))
        return stream

    def __exit__(self, *exception: Any) -> None:
        self._manager.__exit__(*exception)

    async def __aenter__(self) -> Any:
        stream = await self._manager.__aenter__()
        if made := _made(stream):
            tell(stream, made)
            _end_with(stream, lambda final: lambda: _told_soon(final(), made))
        return stream

    async def __aexit__(self, *exception: Any) -> None:
        await self._manager.__aexit__(*exception)


def _made(stream: Any) -> Routing | None:
    """How the helper's ``stream`` was made; None where a server does not say."""
    return getattr(stream._raw_stream, "protege", None)


def _end_with(stream: Any, telling: Callable[[Any], Any]) -> None:
    """Replace what gives the final answer of ``stream``."""
    for name in ("get_final_completion", "get_final_response"):
        if final := getattr(stream, name, None):
            setattr(stream, name, telling(final))


def _told(answer: Any, made: Routing) -> Any:
    tell(answer, made)
    return answer


async def _told_soon(answer: Awaitable[Any], made: Routing) -> Any:
    return _told(await answer, made)
