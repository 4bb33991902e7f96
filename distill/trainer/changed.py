"""Which tasks' next runs would learn from another teacher, or under another instruction, than their
last ones did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from distill.card import Card, Learnt
from distill.data import instructions, teachers
from distill.data.dataset import asked_under
from telemetry.exchange import TaskState
from telemetry.store import Store

_SOME = 50
"""A task's answers are looked at again when so many have come, or gone,"""
_LATER_S = 60.0
"""or any, and so much time has passed."""


@dataclass(frozen=True, slots=True)
class _Look:
    """What was seen of a task."""

    state: TaskState
    """The task's then,"""
    answers: int
    """and how many it had."""
    at: float
    """Unix time."""
    found: str | None = None
    """What has changed, in words."""
    tried: str | None = None
    """What the last run should have learnt. If it came to nothing the next would too."""

    def holds(self, answers: int, now: float) -> bool:
        """Whether no other look is needed while there are so many ``answers``, at Unix time
        ``now``."""
        new = abs(answers - self.answers)
        return new < _SOME and (not new or 0 <= now - self.at < _LATER_S)


class Changed:
    """The tasks of one store. They are asked for several times a second: what was seen is
    remembered, and a task's newest answers are read only when some have come."""

    def __init__(self, store: Store, first: int) -> None:
        """``first`` is how many answers a task needs for its first run."""
        self._store = store
        self._first = first
        self._looks: dict[str, _Look] = {}

    def since_last_run(
        self, answers: Mapping[str, int], states: Mapping[str, TaskState], now: float
    ) -> dict[str, str]:
        """By task, what has changed, in words, at Unix time ``now``; by how many ``answers`` there
        are, and the tasks' ``states``."""
        found = {}
        for task, count in answers.items():
            state = states.get(task)
            if state is None or not state.trained_on:
                continue
            look = self._looks[task] = self._look(state, count, now)
            if look.found is not None:
                found[task] = look.found
        return found

    def _look(self, state: TaskState, answers: int, now: float) -> _Look:
        last = self._looks.get(state.task)
        if last is None:
            return _Look(state, answers, now, self._found(state))
        if last.state != state:
            return _Look(state, answers, now, tried=last.found or last.tried)
        if last.holds(answers, now):
            return last
        found = self._found(state)
        if found == last.tried:
            return _Look(state, answers, now, tried=found)
        return _Look(state, answers, now, found)

    def _found(self, state: TaskState) -> str | None:
        newest = self._store.roster.newest(state.task)
        if newest is None:
            return None
        learnt = Card.parse(newest.card).data
        return self._teacher(state, learnt) or self._instruction(state, learnt)

    def _teacher(self, state: TaskState, learnt: Learnt) -> str | None:
        most = max(teachers.NEWEST, self._first)
        newest = self._store.newest_models(state.task, state.epoch, most)
        models = teachers.successors(newest, learnt.teachers)
        if sum(model in models for model in newest) < self._first:
            return None
        return f"its teacher is {', '.join(sorted(models))} now"

    def _instruction(self, state: TaskState, learnt: Learnt) -> str | None:
        if learnt.instructions is None:
            return None
        requests = self._store.newest_requests(state.task, state.epoch, instructions.NEWEST)
        asked = [name for name in map(asked_under, requests) if name is not None]
        # A name begins with the instruction's words, which are the caller's.
        unknown = {name.split("-")[-1] for name in instructions.unknown(asked, learnt.instructions)}
        return f"it has a new instruction, {', '.join(sorted(unknown))}" if unknown else None
