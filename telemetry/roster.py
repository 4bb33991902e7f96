"""Every student, and who of them serves; and what the learning loop remembers of tasks.

All methods block.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Collection
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    and_,
    insert,
    not_,
    or_,
    select,
    update,
)

from telemetry import changes
from telemetry.changes import Cause
from telemetry.exchange import Stage, StudentRecord, TaskState
from telemetry.schema import students, tasks
from telemetry.states import locked

_PLACED = or_(students.c.serving, students.c.stage.is_not(None))
"""Students that serve, or are on their way to it."""


class Roster:
    """The students and task states of one store; may be used from several threads and processes at
    once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def close_run(
        self,
        state: TaskState,
        record: StudentRecord,
        overtaken: StudentRecord | None = None,
        place: Callable[[], None] = lambda: None,
    ) -> StudentRecord | None:
        """Keep what a training run came to: the task's new state and its student, which is
        returned.

        A student that is ``serving`` takes over its task, one that is on its way there takes the
        place of any other that is. One that was put to the test is kept as ``overtaken`` where
        another was since the run began: both had the same part of the error budget. Each test is
        counted. The files of a student that is kept are put in their ``place`` before anyone sees
        it. All in one transaction; None, and no student kept, where the task's epoch has moved on
        since the run began, or another run has made the same student.
        """
        with self._engine.begin() as connection:
            now = locked(connection, state.task)
            if overtaken is not None:
                if now.attempts >= state.attempts:
                    record = overtaken
                now = dataclasses.replace(now, attempts=now.attempts + 1)
            made = select(students.c.version).where(students.c.version == record.version)
            if now.epoch != state.epoch or connection.execute(made).first() is not None:
                _save(connection, now)
                return None
            _save(connection, _later(state, now))
            earned = record.created if record.serving else None
            if record.placed:
                _turn_back(connection, record.task, _replaced(record.version))
            if record.serving:
                _retire(connection, students.c.task == record.task, _replaced(record.version))
                changes.note(connection, record.task, "promoted", "loop", record.created)
            values = {**dataclasses.asdict(record), "earned": earned}
            connection.execute(insert(students), values)
            place()
        return record

    def promote(self, task: str, version: str, verdict: str, now: float) -> bool:
        """Let a student of ``task`` that has its files take over by hand at Unix time ``now``;
        False, and nothing changed, where there is none."""
        with self._engine.begin() as connection:
            locked(connection, task)
            able = (students.c.version == version, students.c.task == task, students.c.path != "")
            if connection.execute(select(students.c.version).where(*able)).first() is None:
                return False
            _take_over(connection, task, version, verdict, now, "hand")
        return True

    def advance(self, record: StudentRecord, stage: Stage | None, verdict: str, now: float) -> bool:
        """Let a student that is on its way into service go on to ``stage``, or take over its task
        where that is None; False, and nothing changed, where it is not any more as ``record`` has
        it."""
        same = (students.c.version == record.version, students.c.stage == record.stage)
        with self._engine.begin() as connection:
            locked(connection, record.task)
            if connection.execute(select(students.c.version).where(*same)).first() is None:
                return False
            if stage is None:
                _take_over(connection, record.task, record.version, verdict, now, "loop")
            else:
                values = {"stage": stage, "verdict": verdict}
                connection.execute(update(students).where(*same).values(values))
        return True

    def turn_back(self, task: str, version: str, verdict: str) -> bool:
        """End a student's way into service; False where it is not on it."""
        with self._engine.begin() as connection:
            locked(connection, task)
            turned = _turn_back(connection, task, verdict, students.c.version == version)
            if turned:
                changes.note(connection, task, "rolled_back", "loop", time.time())
        return turned

    def roll_back(
        self, task: str, verdict: str, gone: Collection[str] = (), version: str | None = None
    ) -> tuple[StudentRecord | None, ...]:
        """Take the student of ``task`` out of service, and let the one that served before it take
        over; both, as they were, or nothing where none serves, or another than ``version``.

        Without one from before that has kept its place, the task is the teacher's again; those
        whose files are ``gone``, by their versions, are passed over. A student that is on its way
        into service goes first: the one that serves then stays.
        """
        with self._engine.begin() as connection:
            epoch = locked(connection, task).epoch
            ours = select(students).where(students.c.task == task)
            now = connection.execute(ours.where(students.c.serving)).first()
            coming = connection.execute(ours.where(students.c.stage.is_not(None))).first()
            leaving = now if coming is None else coming
            if leaving is None or version not in (None, leaving.version):
                return ()
            if leaving is coming:
                _turn_back(connection, task, verdict)
                changes.note(connection, task, "rolled_back", "hand", time.time())
                return _records(leaving, now)
            earlier = ours.where(
                students.c.earned < leaving.earned,
                # What was learnt before a demotion does not count any more.
                students.c.earned >= epoch,
                students.c.path != "",
                students.c.version.not_in(gone),
            )
            before = connection.execute(earlier.order_by(students.c.earned.desc()).limit(1)).first()
            _retire(connection, students.c.version == leaving.version, verdict, earned=None)
            if before is not None:
                again = f"serves again: {leaving.version} was rolled back"
                _install(connection, before.version, again)
            changes.note(connection, task, "rolled_back", "hand", time.time())
        return _records(leaving, before)

    def serving(self) -> list[StudentRecord]:
        """The students that take traffic now, at most one a task."""
        return self._students(students.c.serving)

    def coming(self) -> list[StudentRecord]:
        """The students that are on their way into service, at most one a task."""
        return self._students(students.c.stage.is_not(None))

    def placed(self) -> list[StudentRecord]:
        """Both as they are at one moment: between two reads one might leave the latter for the
        former, and be missed."""
        return self._students(_PLACED)

    def places(self) -> frozenset[tuple[str, Stage | None]]:
        """The versions and stages of both alone: cards are long, and this is asked several times a
        second."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(students.c.version, students.c.stage).where(_PLACED))
            return frozenset((row.version, row.stage) for row in rows)

    def students(self, task: str) -> list[StudentRecord]:
        """All students of ``task``, oldest first."""
        return self._students(students.c.task == task)

    def newest(self, task: str) -> StudentRecord | None:
        """The student of ``task`` that was made last."""
        ours = select(students).where(students.c.task == task)
        with self._engine.connect() as connection:
            row = connection.execute(ours.order_by(students.c.created.desc()).limit(1)).first()
        return None if row is None else StudentRecord(**row._mapping)

    def every_student(self) -> list[StudentRecord]:
        """The students of all tasks, oldest first."""
        return self._students()

    def student(self, version: str) -> StudentRecord | None:
        found = self._students(students.c.version == version)
        return found[0] if found else None

    def give_up_files(self, task: str, version: str) -> bool:
        """Note that a student has no files any more; False, and not noted, where it serves or is
        about to."""
        with self._engine.begin() as connection:
            locked(connection, task)
            idle = (
                students.c.version == version,
                not_(students.c.serving),
                students.c.stage.is_(None),
            )
            given_up = connection.execute(update(students).where(*idle).values(path=""))
        return given_up.rowcount > 0

    def demote(self, task: str, version: str, verdict: str, now: float) -> bool:
        """Take a student out of service, or off its way there; the task's evidence counts afresh
        from ``now`` on.

        False, and nothing changed, where that student neither serves any more nor is about to.
        """
        with self._engine.begin() as connection:
            state = locked(connection, task)
            ours = students.c.version == version
            demoted = _turn_back(connection, task, verdict, ours) or _retire(
                connection, ours, verdict, earned=None
            )
            if demoted:
                # Whoever is on the way was tested on what does not count any more.
                _turn_back(connection, task, f"{version} was {verdict}")
                # The error budget is for the task's life: a new epoch does not refill it.
                _save(connection, TaskState(task, epoch=now, attempts=state.attempts))
                changes.note(connection, task, "demoted", "audits", now)
        return demoted

    def task_state(self, task: str) -> TaskState:
        """How far the loop has come with ``task``: not at all where nothing is known of it."""
        with self._engine.connect() as connection:
            row = connection.execute(select(tasks).where(tasks.c.task == task)).first()
        return TaskState(task) if row is None else TaskState(**row._mapping)

    def task_states(self) -> dict[str, TaskState]:
        with self._engine.connect() as connection:
            return {
                row.task: TaskState(**row._mapping) for row in connection.execute(select(tasks))
            }

    def put_off(self, task: str, answers: int, counted: float, now: float) -> None:
        """Let a task wait from Unix time ``now`` on as if a student had been trained on so many
        ``answers``, which were ``counted`` at that time; not where a demotion has put them out of
        count since."""
        with self._engine.begin() as connection:
            state = locked(connection, task)
            if state.epoch <= counted:
                tried = dataclasses.replace(state, trained_on=answers, trained_at=counted)
                after = dataclasses.replace(_later(tried, state), trained_at=now)
                _save(connection, after)

    def _students(self, *conditions: Any) -> list[StudentRecord]:
        query = select(students).where(*conditions).order_by(students.c.created)
        with self._engine.connect() as connection:
            return [StudentRecord(**row._mapping) for row in connection.execute(query)]


def _retire(
    connection: Connection, which: ColumnElement[bool], verdict: str, **lost: float | None
) -> bool:
    """Take serving students out of service; False where there are none."""
    values = {"serving": False, "verdict": verdict, **lost}
    result = connection.execute(update(students).where(which, students.c.serving).values(values))
    return result.rowcount > 0


def _turn_back(
    connection: Connection, task: str, verdict: str, *which: ColumnElement[bool]
) -> bool:
    """End the way into service of the students of ``task`` that are on it."""
    coming = (students.c.task == task, students.c.stage.is_not(None), *which)
    values = {"stage": None, "verdict": verdict}
    return connection.execute(update(students).where(*coming).values(values)).rowcount > 0


def _take_over(
    connection: Connection, task: str, version: str, verdict: str, now: float, cause: Cause
) -> None:
    """Put a student into service in the place of all others."""
    others = and_(students.c.task == task, students.c.version != version)
    _turn_back(connection, task, _replaced(version), others)
    _retire(connection, others, _replaced(version))
    _install(connection, version, verdict, earned=now)
    changes.note(connection, task, "promoted", cause, now)


def _records(*rows: Any) -> tuple[StudentRecord | None, ...]:
    return tuple(None if row is None else StudentRecord(**row._mapping) for row in rows)


def _install(connection: Connection, version: str, verdict: str, **gained: float) -> None:
    """Put a student into service."""
    values = {"serving": True, "stage": None, "verdict": verdict, **gained}
    connection.execute(update(students).where(students.c.version == version).values(values))


def _replaced(version: str) -> str:
    return f"replaced by {version}"


def _later(state: TaskState, now: TaskState) -> TaskState:
    """The ``state`` that a run leaves, where others of its epoch may have led to ``now`` since it
    began."""
    after = dataclasses.replace(
        state,
        attempts=max(state.attempts, now.attempts),
        tested_on=max(state.tested_on, now.tested_on),
    )
    if now.trained_at <= state.trained_at:
        return after
    trained_on = max(state.trained_on, now.trained_on)
    return dataclasses.replace(after, trained_on=trained_on, trained_at=now.trained_at)


def _save(connection: Connection, state: TaskState) -> None:
    values = dataclasses.asdict(state)
    connection.execute(update(tasks).where(tasks.c.task == state.task).values(values))
