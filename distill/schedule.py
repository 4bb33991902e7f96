"""When a task is retrained."""

from __future__ import annotations

from collections.abc import Mapping

from config.settings import LoopSettings
from telemetry.exchange import TaskState


def due(
    answers: Mapping[str, int],
    states: Mapping[str, TaskState],
    now: float,
    loop: LoopSettings,
) -> list[str]:
    """Tasks to retrain at Unix time ``now``, the most overdue first.

    ``answers`` counts each task's usable teacher answers. A task is due at its first ``loop.first``
    answers, then each time they have grown by the factor ``loop.growth``, and with any new answers
    once ``loop.interval_s`` has passed since its last run.
    """
    overdue = {}
    for task, count in answers.items():
        state = states.get(task, TaskState(task))
        enough = max(float(loop.first), state.trained_on * loop.growth)
        waited = now - state.trained_at >= loop.interval_s
        stale = loop.first <= state.trained_on < count and waited
        if count >= enough or stale:
            overdue[task] = count / enough
    return sorted(overdue, key=lambda task: overdue[task], reverse=True)
