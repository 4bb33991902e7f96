"""What answers took, as far as the scorers learn from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Engine, func, or_, select

from telemetry.exchange import Route
from telemetry.prices import Usage
from telemetry.schema import exchanges

_MEDIA = (";base64,", "input_audio")
"""What is in the requests that hold images, files or sounds."""

_SECOND = '"index":1'
"""What is in the choices of a completion that has several."""


@dataclass(frozen=True, slots=True)
class Toll:
    """What one complete answer took."""

    task: str
    route: Route
    model: str
    characters: int
    """Of the whole request, instruction included."""
    usage: Usage
    latency_s: float
    first_token_s: float | None
    """None where the answer was not streamed."""
    load: int | None
    """What else its model had to do when the route was chosen; None where nobody looked."""


def newest(engine: Engine, most: int) -> list[Toll]:
    """The tolls of the newest ``most`` exchanges whose requests are stored, oldest first, but for
    those with images and sounds, or with several answers."""
    of = exchanges.c
    query = (
        select(
            *(of.task, of.route, of.model, of.student, of.decision, of.latency_s, of.first_token_s),
            *(of.prompt_tokens, of.completion_tokens, of.cached_tokens, of.reasoning_tokens),
            func.length(of.request).label("characters"),
            or_(*map(of.request.contains, _MEDIA), of.choices.contains(_SECOND)).label("unlike"),
        )
        .where(
            of.request.is_not(None),
            of.status == 200,
            of.finish_reason.is_not(None),
            of.error.is_(None),
            of.dialect != "embeddings",
        )
        .order_by(of.created.desc())
        .limit(most)
    )
    with engine.connect() as connection:
        rows = connection.execute(query).all()
    # How long an image or a sound is says nothing of what it takes, nor several answers what one
    # does.
    return [_toll(row) for row in reversed(rows) if not row.unlike]


def _toll(row: Any) -> Toll:
    # A hosted model that answers as a student takes what any model of a provider takes.
    hosted = row.route == "student" and row.student not in (None, row.model)
    usage = Usage(row.prompt_tokens, row.completion_tokens, row.cached_tokens, row.reasoning_tokens)
    return Toll(
        task=row.task,
        route="model" if hosted else row.route,
        model=row.model,
        characters=row.characters,
        usage=usage,
        latency_s=row.latency_s,
        first_token_s=row.first_token_s,
        load=_load(row.route, row.decision),
    )


def _load(route: Route, decision: str | None) -> int | None:
    """What the decision's scores say of the route that was taken."""
    score = orjson.loads(decision).get(route) if decision else None
    return score.get("load") if score else None
