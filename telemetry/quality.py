"""The students in service, and what their audits have shown."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine, Integer, and_, cast, func, select

from telemetry.schema import exchanges, students


@dataclass(frozen=True, slots=True)
class InService:
    """A student in service. Only audits of what it was sure of are counted: nothing else is
    promised."""

    task: str
    version: str
    since: float
    """Unix time at which it took over its task."""
    audits: int
    disagreements: int


def in_service(engine: Engine) -> list[InService]:
    """The students in service, by task. Blocks."""
    of = students.c
    promised = and_(
        exchanges.c.student == of.version,
        exchanges.c.agreed.is_not(None),
        exchanges.c.reason == "student_confident",
    )
    since = func.coalesce(of.earned, of.created)
    query = (
        select(
            *(of.task, of.version, since),
            func.count(exchanges.c.agreed),
            func.coalesce(func.sum(1 - cast(exchanges.c.agreed, Integer)), 0),
        )
        .outerjoin_from(students, exchanges, promised)
        .where(of.serving)
        .group_by(of.task, of.version, since)
        .order_by(of.task)
    )
    with engine.connect() as connection:
        return [InService(*row) for row in connection.execute(query)]


def without_student(engine: Engine) -> list[str]:
    """The tasks that students were trained for and that none serves. Blocks."""
    of = students.c
    served = select(of.task).where(of.serving)
    query = select(of.task).where(of.task.not_in(served)).distinct()
    with engine.connect() as connection:
        return sorted(connection.scalars(query))


def cards(engine: Engine, versions: list[str]) -> dict[str, str]:
    """The cards of these students, as JSON. Blocks."""
    query = select(students.c.version, students.c.card).where(students.c.version.in_(versions))
    with engine.connect() as connection:
        return {row.version: row.card for row in connection.execute(query)}
