"""What was seen of students on their way into service, and its table. All functions block.

A trial belongs to an exchange, so that what a student said or would have said can be joined with
what its caller got.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import Engine, and_, case, delete, false, func, insert, select

from telemetry.exchange import Stage
from telemetry.schema import exchanges, students, trials


@dataclass(frozen=True, slots=True)
class Trial:
    """One request that a student was asked about on its way into service."""

    student: str
    """Its version."""
    stage: Stage
    exchange: str
    """Id of the request's."""
    failed: bool = False
    """Whether it raised an error instead of saying anything."""
    took_s: float = 0.0
    answered: bool = False
    """Whether it gave its answer; in the shadow, whether it would have."""
    agreed: bool | None = None
    """In the shadow, whether the teacher gave the same answer; None where that is not known."""


@dataclass(frozen=True, slots=True)
class TrialTally:
    """All trials of one student in one stage."""

    asked: int
    failed: int
    slow: int
    answered: int
    compared: int
    """Answers that the teacher was asked for too,"""
    disagreements: int
    """and how many of these it contradicted."""


def add(engine: Engine, new: Sequence[Trial]) -> None:
    with engine.begin() as connection:
        connection.execute(insert(trials), [asdict(trial) for trial in new])


def tally(engine: Engine, version: str, stage: Stage, slow_s: float) -> TrialTally:
    """What a stage has shown of a student; ``slow`` counts what took longer than ``slow_s``."""
    of = trials.c
    # What was answered in earnest is compared by an audit, which the exchange tells of.
    given = and_(of.answered, of.stage == "canary")
    agreed = func.coalesce(of.agreed, exchanges.c.agreed)
    counts = [
        func.count(),
        *(
            func.coalesce(func.sum(case((condition, 1), else_=0)), 0)
            for condition in (
                of.failed,
                of.took_s > slow_s,
                of.answered,
                agreed.is_not(None),
                agreed.is_(false()),
            )
        ),
    ]
    query = (
        select(*counts)
        .outerjoin_from(trials, exchanges, and_(exchanges.c.id == of.exchange, given))
        .where(of.student == version, of.stage == stage)
    )
    with engine.connect() as connection:
        return TrialTally(*map(int, connection.execute(query).one()))


def forget(engine: Engine, task: str, version: str) -> None:
    """Delete the trials of all students of ``task`` but one."""
    others = select(students.c.version).where(students.c.task == task)
    with engine.begin() as connection:
        connection.execute(
            delete(trials).where(trials.c.student.in_(others), trials.c.student != version)
        )
