"""The training lag: how long after it fell due a training run is finished.

It is the wait for other tasks' runs and the training itself, as they came out on the machine of the
demo. The plain baseline gets the mean of it, so that it is not ahead by being spared both.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import ceil
from pathlib import Path
from statistics import fmean

from config.settings import LoopSettings
from distill.card import Card
from telemetry.exchange import StudentRecord
from telemetry.store import Store


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """One run of the trainer, in Unix time."""

    since: float
    """The task's epoch: only later exchanges counted."""
    started: float
    finished: float

    @classmethod
    def of(cls, record: StudentRecord) -> TrainingRun:
        """The run that ``record`` came of; it seems to start later by the time that writing the
        student's files took."""
        card = Card.parse(record.card)
        assert card.data.since is not None, "the trainer of the demo notes it,"
        assert card.training_s is not None, "and this"
        return cls(card.data.since, record.created - card.training_s, record.created)


def mean_lag_s(data: Path, loop: LoopSettings) -> float | None:
    """Mean training lag in seconds over all runs in the store of the folder ``data``; None where
    there was no run.

    An audit's answer counts from when the caller had the student's, so a little early.
    """
    store = Store(data)
    found: list[float] = []
    for task in store.roster.task_states():
        runs = map(TrainingRun.of, store.roster.students(task))
        for since, of_epoch in groupby(runs, key=lambda run: run.since):
            answers = store.teacher_answers(task, since)
            answered = sorted(answer.created + answer.latency_s for answer in answers)
            found += lags_s(of_epoch, answered, loop)
    store.close()
    return fmean(found) if found else None


def lags_s(
    runs: Iterable[TrainingRun], answered: Sequence[float], loop: LoopSettings
) -> list[float]:
    """Seconds from when each run of one task and epoch fell due to when it was finished.

    ``runs`` are in order of time; ``answered`` holds the Unix times at which the usable teacher
    answers came, sorted. A run falls due with the answer that makes them ``loop.first``, or
    ``loop.growth`` times as many as there were when the run before it started. One that started
    with fewer was brought about by the timer, and is left out.
    """
    lags = []
    enough = loop.first
    for run in runs:
        seen = bisect_right(answered, run.started)
        if seen >= enough:
            lags.append(run.finished - answered[enough - 1])
        enough = max(loop.first, ceil(seen * loop.growth))
    return lags
