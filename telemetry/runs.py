"""Training runs: what each came to and took, and their table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from sqlalchemy import BigInteger, Engine, case, cast, func, insert, select

from telemetry.schema import exchanges, training_runs

Outcome = Literal["promoted", "kept", "failed"]
"""``kept``: whoever served the task before goes on."""

WITHIN_S = (1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
"""Durations by which runs are counted, in seconds."""


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """One training run that has ended."""

    task: str
    ended: float
    """Unix time."""
    seconds: float
    outcome: Outcome
    examples: int
    """Teacher answers that there were to learn from."""
    model: str = "auto"
    """What students were made of, as in a job."""
    cpu_s: float | None = None
    """Seconds of a processor that it took; None where they were not measured."""
    cost: int | None = None
    """What these cost, in picodollars,"""
    saving: int | None = None
    """and the most that was expected to be saved by it."""


@dataclass(frozen=True, slots=True)
class Left:
    """What is left for students of a task: what its teacher has answered."""

    requests: int
    cost: int
    """Picodollars."""
    first: float | None
    """Unix time of the first of them."""


@dataclass(frozen=True, slots=True)
class RunTally:
    """All runs of one task with one outcome."""

    task: str
    outcome: Outcome
    runs: int
    seconds: float
    """Of all of them together."""
    within: Sequence[int]
    """How many took at most as long as each of ``WITHIN_S``."""


def add(engine: Engine, run: TrainingRun) -> None:
    """Write down a run. Blocks."""
    with engine.begin() as connection:
        connection.execute(insert(training_runs).values(asdict(run)))


def measured_cpu_s(engine: Engine, task: str, model: str) -> float | None:
    """Seconds of a processor that the last such run took; None where none was measured. Blocks."""
    of = training_runs.c
    ours = (of.task == task, of.model == model, of.cpu_s.is_not(None))
    query = select(of.cpu_s).where(*ours).order_by(of.id.desc()).limit(1)
    with engine.connect() as connection:
        return connection.scalar(query)


def left_for_students(engine: Engine, task: str, since: float) -> Left:
    """What the teacher has answered of ``task`` since a Unix time. Blocks."""
    of = exchanges.c
    ours = (of.task == task, of.created >= since, of.route == "teacher")
    cost = cast(func.coalesce(func.sum(of.cost), 0), BigInteger)
    with engine.connect() as connection:
        row = connection.execute(select(func.count(), cost, func.min(of.created)).where(*ours))
        return Left(*row.one())


def tallies(engine: Engine) -> list[RunTally]:
    """All runs, by task and outcome. Blocks."""
    of = training_runs.c
    within = [func.sum(case((of.seconds <= most, 1), else_=0)) for most in WITHIN_S]
    query = (
        select(of.task, of.outcome, func.count(), func.sum(of.seconds), *within)
        .group_by(of.task, of.outcome)
        .order_by(of.task, of.outcome)
    )
    with engine.connect() as connection:
        return [
            RunTally(task, outcome, runs, seconds, tuple(map(int, counts)))
            for task, outcome, runs, seconds, *counts in connection.execute(query)
        ]


def sizes(engine: Engine) -> dict[str, int]:
    """What each task's last run had to learn from. Blocks."""
    of = training_runs.c
    last = select(func.max(of.id)).group_by(of.task)
    with engine.connect() as connection:
        return {
            row.task: row.examples
            for row in connection.execute(select(of.task, of.examples).where(of.id.in_(last)))
        }
