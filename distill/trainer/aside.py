"""What takes minutes is made beside all else: cheap students should not wait for it."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from functools import partial

from distill.card import taught_under
from distill.runs import text
from distill.trainer.encoder_tuning import EncoderTuning
from distill.trainer.kinds import Kinds
from distill.trainer.retraining import Retraining
from telemetry import jobs
from telemetry.exchange import TaskState
from telemetry.jobs import Base, Job
from telemetry.store import Store


class Aside:
    """One job of the kind at a time, in a thread of its own."""

    def __init__(
        self, store: Store, kinds: Kinds, retraining: Retraining, tuning: EncoderTuning
    ) -> None:
        self._store = store
        self._kinds = kinds
        self._retraining = retraining
        self._tuning = tuning
        self._thread: threading.Thread | None = None
        self._wanted: dict[str, int] = {}
        """Tasks with new students, and their answers, that may be due for something of the kind."""
        self.writing: str | None = None
        """The task whose text student is trained."""

    def want(self, task: str, answers: int) -> None:
        """Look, once there is time, what is due for a task that has a new student and so many
        answers."""
        self._wanted[task] = answers

    def start(self) -> None:
        """Begin with what takes minutes, where any is due and nothing else of the kind goes on."""
        while self._wanted and (self._thread is None or not self._thread.is_alive()):
            task = next(iter(self._wanted))
            work = self._due(task, self._wanted.pop(task))
            if work is not None:
                self._thread = threading.Thread(target=work, name="aside", daemon=True)
                self._thread.start()

    def _due(self, task: str, answers: int) -> Callable[[], None] | None:
        """What is to be made for a task that has so many answers; None where nothing is due."""
        state = self._store.roster.task_state(task)
        # What was learnt under an instruction that is asked no more is of no use to its task.
        in_use = self._retraining.instructions.get(task)
        students = taught_under(self._store.roster.students(task), in_use)
        if self._kinds.can_write and text.is_due(students, answers):
            # From now on, not only once the thread runs.
            self.writing = task
            return partial(self._write, state, answers)
        waiting = text.waiting(students, state, answers)
        if waiting is not None:
            return partial(self._test_again, waiting.version, state, answers)
        if self._tuning.is_due(state, answers, students):
            return partial(self._tune, state, answers)
        return None

    def _write(self, state: TaskState, answers: int) -> None:
        try:
            job = self._begin(state, "text")
            if job is not None:
                self._retraining.make(job, answers, self._kinds.text())
                shutil.rmtree(self._kinds.scratch(state.task), ignore_errors=True)
        finally:
            self.writing = None

    def _test_again(self, version: str, state: TaskState, answers: int) -> None:
        job = self._begin(state, "retest")
        if job is not None:
            self._retraining.make(job, answers, self._kinds.retest(version))

    def _tune(self, state: TaskState, answers: int) -> None:
        job = self._begin(state, "encoder")
        if job is not None:
            self._tuning.make(job, state, answers)

    def _begin(self, state: TaskState, model: Base) -> Job | None:
        return jobs.begin(self._store.engine, state, time.time(), model=model)
