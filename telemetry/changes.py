"""Changes of service: which tasks' students came into service or went out of it, and their table.

Each is written down in the transaction that makes it, so that none is missed or counted twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, Engine, func, insert, select

from telemetry.schema import service_changes

Change = Literal["promoted", "demoted", "rolled_back"]
Cause = Literal["loop", "hand", "audits"]
"""Whose word it was: the learning loop's, a person's, or that of what audits had shown."""


@dataclass(frozen=True, slots=True)
class ChangeTally:
    """All changes of one kind that had one cause, of one task."""

    task: str
    change: Change
    cause: Cause
    count: int
    last: float
    """Unix time of the last one."""


def note(connection: Connection, task: str, change: Change, cause: Cause, now: float) -> None:
    """Write down a change of Unix time ``now`` as part of the transaction that makes it."""
    values = {"task": task, "changed": now, "change": change, "cause": cause}
    connection.execute(insert(service_changes).values(values))


def tallies(engine: Engine) -> list[ChangeTally]:
    """All changes, by task, kind and cause. Blocks."""
    of = service_changes.c
    by = (of.task, of.change, of.cause)
    query = select(*by, func.count(), func.max(of.changed)).group_by(*by).order_by(*by)
    with engine.connect() as connection:
        return [ChangeTally(*row) for row in connection.execute(query)]
