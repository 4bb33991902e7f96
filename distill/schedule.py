"""When a task is retrained."""

from __future__ import annotations

from collections.abc import Mapping

from config.settings import LoopSettings
from telemetry.exchange import TaskState

_QUICK_S = 0.1
"""Runs shorter than this are alike."""


def due(
    answers: Mapping[str, int],
    states: Mapping[str, TaskState],
    now: float,
    loop: LoopSettings,
    took: Mapping[str, float],
) -> list[str]:
    """Tasks to retrain at Unix time ``now``, the most overdue for its cost first.

    ``answers`` counts each task's usable teacher answers. A task is due at its first ``loop.first``
    answers, then each time they have grown by the factor ``loop.growth``, and with any that came or
    went once ``loop.interval_s`` has passed since its last run. ``took`` holds the seconds of each
    task's last run, where there was one: a quick run should not wait for long ones, and a long one
    comes to its turn as its answers pile up.
    """
    overdue = {}
    for task, count in answers.items():
        state = states.get(task, TaskState(task))
        enough = max(float(loop.first), state.trained_on * loop.growth)
        waited = now - state.trained_at >= loop.interval_s
        # Answers that have become too old to be kept change what there is to learn as well.
        stale = loop.first <= min(count, state.trained_on) and count != state.trained_on and waited
        if count >= enough or stale:
            overdue[task] = count / enough / max(took.get(task, 0.0), _QUICK_S)
    return sorted(overdue, key=lambda task: overdue[task], reverse=True)
