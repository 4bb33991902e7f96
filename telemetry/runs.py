"""Training runs: what each came to and took, and their table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from sqlalchemy import Engine, case, func, insert, select

from telemetry.schema import training_runs

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
