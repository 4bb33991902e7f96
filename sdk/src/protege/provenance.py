"""How an answer was made: what a Protege server says of it in the response's headers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import unquote

import openai

DIRECT = "direct"
ROUTE_HEADER = "x-protege-route"

_TOLD = (openai.BaseModel, openai.Stream, openai.AsyncStream)


@dataclass(frozen=True)
class Routing:
    """How one answer was made. What the server did not say is None."""

    route: str
    """``teacher``, ``student``, ``model`` (another, asked for by name), ``mixed`` (several prompts
    that went different ways), or ``direct`` (the provider was asked, for Protege could not be
    reached)."""
    exchange: str | None = None
    """Id of the exchange in Protege's store, the one that feedback is for."""
    exchanges: tuple[str, ...] = ()
    """That of each prompt, if there were several; ``exchange`` is the first one's."""
    task: str | None = None
    model: str | None = None
    reason: str | None = None
    cost: Decimal | None = None
    """USD. Of a stream, what was expected when it began."""
    saved: Decimal | None = None
    """USD by which the teacher would have cost more."""

    @property
    def direct(self) -> bool:
        """Whether Protege had no part in it."""
        return self.route == DIRECT


def routing(answer: object) -> Routing:
    """How ``answer`` was made: ``answer.protege``, for type checkers, which do not know of it.

    ``answer`` is a completion, a response, embeddings, or a stream. Raises TypeError where it is
    nothing that a model was asked for.
    """
    # What client.beta's .stream() gives is openai's own, and wraps the stream itself.
    for found in (answer, getattr(answer, "_raw_stream", None)):
        made = getattr(found, "protege", None)
        if isinstance(made, Routing):
            return made
    raise TypeError(f"{type(answer).__name__} is not an answer of a model")


def tell(answer: object, made: Routing) -> None:
    """Give ``answer`` its ``protege``."""
    # Past pydantic, to which it would be one more field of the answer's JSON.
    object.__setattr__(answer, "protege", made)


def read(headers: Mapping[str, str]) -> Routing | None:
    """What the headers of a response say; None if no model was asked."""
    route = headers.get(ROUTE_HEADER)
    if route is None:
        return None
    if route == DIRECT:
        return Routing(route)

    def text(name: str) -> str | None:
        value = headers.get(f"x-protege-{name}")
        return None if value is None else unquote(value)

    def usd(name: str) -> Decimal | None:
        value = headers.get(f"x-protege-{name}")
        return None if value is None else Decimal(value)

    several = headers.get("x-protege-exchanges")
    return Routing(
        route=route,
        exchange=headers.get("x-request-id"),
        exchanges=tuple(several.split(", ")) if several else (),
        task=text("task"),
        model=text("model"),
        reason=text("reason"),
        cost=usd("cost"),
        saved=usd("saved"),
    )


def attached(
    parser: Callable[[Any], Any] | openai.NotGiven, headers: Mapping[str, str]
) -> Callable[[Any], Any]:
    """``parser``, and what it gives then has a ``protege`` if the response's ``headers`` have."""
    made = read(headers)

    def parse(parsed: Any) -> Any:
        answer = parsed if isinstance(parser, openai.NotGiven) else parser(parsed)
        if made is not None and isinstance(answer, _TOLD):
            tell(answer, made)
        return answer

    return parse
