"""The students in service, and what their audits have shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Engine, func, select

from telemetry.audits import NO_AUDITS, AuditBlocks, blocks_by_version, tallies
from telemetry.exchange import Stage
from telemetry.schema import students


@dataclass(frozen=True, slots=True)
class InService:
    """A student in service."""

    task: str
    version: str
    since: float
    """Unix time at which it took over its task."""
    audits: AuditBlocks


def in_service(engine: Engine, known: Mapping[str, AuditBlocks]) -> list[InService]:
    """The students in service, by task. Blocks.

    To count audits is ten times as quick as to put them in order, so those are read anew alone of
    which there are others than ``known``, by version.
    """
    of = students.c
    since = func.coalesce(of.earned, of.created)
    query = select(of.task, of.version, since).where(of.serving).order_by(of.task)
    with engine.connect() as connection:
        serving = connection.execute(query).all()
    counted = tallies(engine, [version for _, version, _ in serving])
    news = [
        version
        for version, tally in counted.items()
        if known.get(version, NO_AUDITS).total != tally
    ]
    audits = {**known, **blocks_by_version(engine, news)}
    return [InService(*row, audits.get(row.version, NO_AUDITS)) for row in serving]


def coming(engine: Engine) -> dict[str, Stage]:
    """The stage of the student that is on its way into service, by task. Blocks."""
    of = students.c
    query = select(of.task, of.stage).where(of.stage.is_not(None))
    with engine.connect() as connection:
        return {row.task: row.stage for row in connection.execute(query)}


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
