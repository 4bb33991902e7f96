"""Tryouts: what hosted models say to requests that the teacher has answered too, and their table.

No text is kept of them, only whether both said the same. All functions block; times are Unix times
in seconds, money is in picodollars.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from sqlalchemy import Connection, Engine, select, true, update

from telemetry.measures import total
from telemetry.schema import exchanges, tryouts
from telemetry.upsert import upsert


@dataclass(frozen=True, slots=True)
class Tryout:
    """A hosted model's answer beside the teacher's."""

    exchange: str
    """Id of the exchange with the teacher's answer."""
    model: str
    """The hosted model, by its name in the settings."""
    created: float
    """When the request came."""
    task: str
    agreed: bool
    """Whether its answer was as good as the teacher's."""
    chance: float
    """Probability with which it was asked, given that the teacher had been."""
    cost: int
    """What its answer cost."""
    extra: bool
    """Whether it was asked for the tryout alone: not where its answer was the caller's."""
    latency_s: float
    """Seconds until it had answered."""


def add(connection: Connection, tryout: Tryout) -> None:
    """Keep a tryout and, with its exchange, what it cost. One that is there already stays."""
    statement = upsert(connection, tryouts).on_conflict_do_nothing()
    new = connection.execute(statement, asdict(tryout)).rowcount > 0
    if new and tryout.extra:
        of = exchanges.c
        adding = update(exchanges).values(tryout_cost=of.tryout_cost + tryout.cost)
        connection.execute(adding.where(of.id == tryout.exchange))


def made(engine: Engine, task: str, model: str, since: float) -> dict[str, Tryout]:
    """The tryouts of ``model`` on requests of ``task`` that came from ``since`` on, by exchange."""
    of = tryouts.c
    query = select(tryouts).where(of.task == task, of.model == model, of.created >= since)
    with engine.connect() as connection:
        found = (Tryout(**row._mapping) for row in connection.execute(query))
        return {tryout.exchange: tryout for tryout in found}


def teacher_costs(engine: Engine, task: str, model: str, since: float) -> dict[str, int]:
    """What the teacher's answers cost to which ``made`` has the model's, by exchange."""
    of = exchanges.c
    query = (
        select(of.id, of.teacher_cost)
        .join(tryouts, tryouts.c.exchange == of.id)
        .where(tryouts.c.task == task, tryouts.c.model == model, tryouts.c.created >= since)
    )
    with engine.connect() as connection:
        return {row.id: row.teacher_cost for row in connection.execute(query)}


def spent(engine: Engine, since: float) -> int:
    """What was spent on tryouts of requests that came from ``since`` on."""
    of = tryouts.c
    query = select(total(of.cost)).where(of.extra.is_(true()), of.created >= since)
    with engine.connect() as connection:
        return int(connection.scalar(query) or 0)
