"""When a task is retrained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from config.settings import LoopSettings
from telemetry.exchange import TaskState

_QUICK_S = 0.1
"""Runs shorter than this are alike."""
_LEAST_HOPE = 0.1
"""No task is put off for ever."""


@dataclass(frozen=True, slots=True)
class LastRun:
    """What a task's last run says of the next; as it is, of a task that has had none."""

    took_s: float = 0.0
    hope: float = 1.0
    """How often the surest third of what its student would have said agreed with the teacher."""

    @property
    def price(self) -> float:
        """What a run takes for what may come of it."""
        return max(self.took_s, _QUICK_S) / max(self.hope, _LEAST_HOPE)


def due(
    answers: Mapping[str, int],
    states: Mapping[str, TaskState],
    now: float,
    loop: LoopSettings,
    last: Mapping[str, LastRun],
    changed: Mapping[str, str],
) -> dict[str, str]:
    """Tasks to retrain at Unix time ``now`` and why, the most overdue for its cost first.

    ``answers`` counts each task's usable teacher answers. A task is due at its first ``loop.first``
    answers, then each time they have grown by the factor ``loop.growth``, and with any that came or
    went once ``loop.interval_s`` has passed since its last run. One that has ``changed``, as those
    words say, so that its next run would learn something else, is due at once. ``last`` holds each
    task's last run, where there was one: a quick one should not wait for long ones,
    nor a task that can be learnt for those that cannot, and these come to their turn as their
    answers pile up.
    """
    overdue, reasons = {}, {}
    for task, count in answers.items():
        state = states.get(task, TaskState(task))
        enough = max(float(loop.first), state.trained_on * loop.growth)
        waited = now - state.trained_at >= loop.interval_s
        # Answers that have become too old to be kept change what there is to learn as well.
        stale = loop.first <= min(count, state.trained_on) and count != state.trained_on and waited
        why = f"it has {count} answers" if count >= enough else changed.get(task)
        if why is not None or stale:
            reasons[task] = why or f"its last run was {now - state.trained_at:.0f} s ago"
            overdue[task] = count / enough / last.get(task, LastRun()).price
    urgent = sorted(overdue, key=lambda task: overdue[task], reverse=True)
    return {task: reasons[task] for task in urgent}
