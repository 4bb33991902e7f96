"""What was spent, and what the teacher would have cost for all of it, over time."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Engine, Integer, cast, func, select

from telemetry.schema import exchanges


class Payer(NamedTuple):
    """Whose requests are counted: a task's, a key's, or, with neither, all."""

    task: str | None = None
    key: str | None = None

    def condition(self) -> list[ColumnElement[bool]]:
        conditions = []
        if self.task is not None:
            conditions.append(exchanges.c.task == self.task)
        if self.key is not None:
            conditions.append(exchanges.c.key == self.key)
        return conditions


def spent(engine: Engine, payer: Payer, since: float) -> int:
    """Picodollars that requests from Unix time ``since`` on have cost, audits and tryouts too.
    Blocks."""
    of = exchanges.c
    # Sums of PostgreSQL's are decimals.
    total = cast(func.sum(of.cost + of.audit_cost + of.tryout_cost), BigInteger)
    query = select(func.coalesce(total, 0)).where(exchanges.c.created >= since, *payer.condition())
    with engine.connect() as connection:
        return int(connection.scalar(query) or 0)


def demand(engine: Engine, payer: Payer, since: float, slot_s: int) -> dict[int, int]:
    """Picodollars that the teacher would have cost for all requests from Unix time ``since`` on, by
    slots of ``slot_s`` seconds numbered from Unix time 0. Blocks."""
    # Half of a slot less, rounded: all databases have that. What comes at the very start of a slot
    # may count for the one before.
    slot = cast(func.round(exchanges.c.created / slot_s - 0.5), Integer).label("slot")
    total = cast(func.sum(exchanges.c.teacher_cost), BigInteger)
    query = (
        select(slot, total).where(exchanges.c.created >= since, *payer.condition()).group_by(slot)
    )
    with engine.connect() as connection:
        return {int(number): int(amount or 0) for number, amount in connection.execute(query)}
