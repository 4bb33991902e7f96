"""The teacher's answers to a task that a training run reads."""

from __future__ import annotations

from dataclasses import dataclass

from telemetry.exchange import Exchange, TaskState
from telemetry.store import Store

MOST_ANSWERS = 20_000
"""A training run reads the newest so many: enough for a label student, and bounded in memory. No
more than half of the places are for imported pairs."""


@dataclass(frozen=True, slots=True)
class OnRecord:
    """Answers that count."""

    exchanges: list[Exchange]
    """Oldest first."""
    since: float
    """Unix time from which on all that count have been read."""


def on_record(store: Store, state: TaskState, horizon: float, *, every: bool = False) -> OnRecord:
    """What students of the task of ``state`` learn from, where nothing is kept from before Unix
    time ``horizon``; with ``every`` answer, more than one run reads."""
    since = max(state.epoch, horizon)
    exchanges = store.teacher_answers(state.task, since, None if every else MOST_ANSWERS)
    # What is older than the oldest answer that is read is not left out, but out of reach.
    return OnRecord(exchanges, min((exchange.created for exchange in exchanges), default=since))
