"""Finding exchanges by what is known of them, the newest first."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import ColumnElement, Engine, Text, false, func, or_, select, true, tuple_

from telemetry.exchange import Exchange, Route
from telemetry.measures import FAILED
from telemetry.schema import exchanges
from telemetry.store import Place

Outcome = Literal["agreed", "disagreed", "failed", "judged"]
"""What came of an exchange: how its audit went, that it failed, as figures count that, or that a
person judged it."""

_OUTCOMES: dict[Outcome, ColumnElement[bool]] = {
    "agreed": exchanges.c.agreed.is_(true()),
    "disagreed": exchanges.c.agreed.is_(false()),
    "failed": FAILED,
    "judged": or_(exchanges.c.score.is_not(None), exchanges.c.right_answer.is_not(None)),
}

READ = 100_000
"""Most exchanges whose texts one search reads."""

_TEXTS = {
    # What follows an escaped backslash may be a letter that is an n.
    "request": ((r"\\", "\1"), (r"\n", " ")),
    "answer": (("\n", " "),),
    "teacher_answer": (("\n", " "),),
}
"""Where a text is looked for, and what makes spaces of the line breaks there, in order."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which exchanges are looked for: those that have all of what is said."""

    since: float = 0.0
    """Unix time."""
    task: str | None = None
    route: Route | None = None
    key: str | None = None
    student: str | None = None
    """Version of the student that was asked."""
    outcome: Outcome | None = None
    text: str | None = None
    """What the request or an answer has in it, in letters of either case (of those beyond ASCII, at
    least the one given); its spaces may be line breaks there. It is looked for in the newest
    ``READ`` of those that have all else."""
    before: Place | None = None
    """Older than the exchange at this place."""
    limit: int = 50


def find(engine: Engine, wanted: Wanted) -> list[Exchange]:
    """The newest exchanges that are ``wanted``. Blocks."""
    place = (exchanges.c.created, exchanges.c.id)
    query = select(exchanges).where(exchanges.c.created >= wanted.since)
    for name in ("task", "route", "key", "student"):
        value = getattr(wanted, name)
        if value is not None:
            query = query.where(exchanges.c[name] == value)
    if wanted.outcome is not None:
        query = query.where(_OUTCOMES[wanted.outcome])
    if wanted.before is not None:
        query = query.where(tuple_(*place) < tuple_(*wanted.before))
    if wanted.text is not None:
        created = exchanges.c.created
        others = query.with_only_columns(created).order_by(created.desc())
        first = others.offset(READ - 1).limit(1).scalar_subquery()
        query = query.where(created >= func.coalesce(first, 0.0), or_(*_having(wanted.text)))
    query = query.order_by(*(each.desc() for each in place)).limit(wanted.limit)
    with engine.connect() as connection:
        return [Exchange(**row._mapping) for row in connection.execute(query)]


def _having(text: str) -> Iterator[ColumnElement[bool]]:
    """One of them is true of an exchange that has ``text`` in it."""
    for name, line_breaks in _TEXTS.items():
        column: ColumnElement[str] = exchanges.c[name]
        forms = _in_json(text) if name == "request" else [text]
        if " " in text:
            # Who pastes two lines into a browser's field has a space between them.
            for old, new in line_breaks:
                column = func.replace(column, old, new, type_=Text)
                forms = [form.replace(old, new) for form in forms]
        for form in forms:
            yield column.icontains(form, autoescape=True)


def _in_json(text: str) -> list[str]:
    """``text`` as it may stand in a request, which is kept as the JSON that was sent: as a part of
    that, or as a part of a string in it, where what is not ASCII is escaped or is not."""
    strings = (json.dumps(text, ensure_ascii=escaped)[1:-1] for escaped in (False, True))
    return list(dict.fromkeys((text, *strings)))
