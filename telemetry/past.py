"""What policies chose and what came of it: the part of the exchanges that evaluation needs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import select

from telemetry.exchange import Route
from telemetry.schema import exchanges
from telemetry.store import Store

_BATCH = 5_000
"""Rows held at once."""


@dataclass(frozen=True, slots=True)
class Past:
    """One exchange, without what the caller said."""

    task: str
    route: Route
    status: int
    finish_reason: str | None
    student: str | None
    student_answer: str | None
    teacher_answer: str | None
    agreed: bool | None
    confidence: float | None
    propensity: float | None
    decision: str | None
    cost: int
    audit_cost: int
    latency_s: float
    audit_latency_s: float | None
    kept: bool
    """Whether its texts are in the store."""


_COLUMNS = [exchanges.c[name] for name in Past.__slots__ if name != "kept"]


def past(store: Store, since: float, until: float, task: str | None = None) -> Iterator[Past]:
    """Exchanges from Unix time ``since`` to before ``until``, of one task or of all, oldest first;
    not those with a model that the caller named."""
    query = (
        select(*_COLUMNS, exchanges.c.request.is_not(None).label("kept"))
        .where(exchanges.c.created >= since, exchanges.c.created < until)
        .where(exchanges.c.route.in_(("teacher", "student")))
        .order_by(exchanges.c.created)
    )
    if task is not None:
        query = query.where(exchanges.c.task == task)
    with store.engine.connect().execution_options(yield_per=_BATCH) as connection:
        for row in connection.execute(query):
            yield Past(**row._mapping)


def since_newest(store: Store, task: str, most: int) -> float:
    """Unix time from which on a task has at most about so many exchanges."""
    created = exchanges.c.created
    query = select(created).where(exchanges.c.task == task).order_by(created.desc())
    with store.engine.connect() as connection:
        return connection.scalar(query.offset(most - 1).limit(1)) or 0.0
