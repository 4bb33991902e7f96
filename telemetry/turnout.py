"""How often the teacher was to be asked, by the student that was asked first."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Engine, case, func, select

from telemetry.schema import exchanges


@dataclass(frozen=True, slots=True)
class Turnout:
    """Requests that one student was asked about, and how many of them were expected to reach the
    teacher: the sums of the probabilities with which they did."""

    sure: int = 0
    """Those that it was sure enough of to answer."""
    sure_asked: float = 0.0
    unsure: int = 0
    unsure_asked: float = 0.0

    def __add__(self, other: Turnout) -> Turnout:
        return Turnout(
            self.sure + other.sure,
            self.sure_asked + other.sure_asked,
            self.unsure + other.unsure,
            self.unsure_asked + other.unsure_asked,
        )

    def asked(self, sure: bool) -> float:
        """How many of all these requests would have reached the teacher if the student had been
        ``sure`` of all, or of none."""
        of, asked = (self.sure, self.sure_asked) if sure else (self.unsure, self.unsure_asked)
        return (self.sure + self.unsure) * (asked / of if of else 1.0)


def asked_first(engine: Engine, task: str, since: float) -> list[str]:
    """The students that requests of ``task`` from Unix time ``since`` on were put to. Blocks."""
    query = select(exchanges.c.student).where(*_put_to_students(task, since)).distinct()
    with engine.connect() as connection:
        return sorted(connection.scalars(query))


def turnouts(
    engine: Engine, task: str, since: float, thresholds: Mapping[str, float]
) -> dict[str, Turnout]:
    """The turnout of each student, by version. Each is sure from its threshold on. Blocks."""
    if not thresholds:
        return {}
    of = exchanges.c
    sure = of.confidence >= case(thresholds, value=of.student)
    asked = func.sum(of.propensity)
    query = (
        select(of.student, sure.label("sure"), func.count(), asked)
        .where(*_put_to_students(task, since), of.student.in_(thresholds))
        .group_by(of.student, "sure")
    )
    found = dict.fromkeys(thresholds, Turnout())
    with engine.connect() as connection:
        for version, was_sure, requests, expected in connection.execute(query):
            part = (requests, expected, 0, 0.0) if was_sure else (0, 0.0, requests, expected)
            found[version] += Turnout(*part)
    return found


def without_student(engine: Engine, task: str, since: float, never: Collection[str]) -> int:
    """How many requests of ``task`` the teacher answered because no student was asked, though one
    could have been: those alone are like the ones that students are asked about. For the reasons
    ``never`` none is. Blocks."""
    of = exchanges.c
    query = select(func.count()).where(
        of.task == task,
        of.created >= since,
        of.status == 200,
        of.route == "teacher",
        of.student.is_(None),
        of.reason.not_in(never),
    )
    with engine.connect() as connection:
        return int(connection.scalar(query) or 0)


def _put_to_students(task: str, since: float) -> tuple[ColumnElement[bool], ...]:
    of = exchanges.c
    return (
        of.task == task,
        of.created >= since,
        of.status == 200,
        of.student.is_not(None),
        of.confidence.is_not(None),
        of.propensity.is_not(None),
    )
